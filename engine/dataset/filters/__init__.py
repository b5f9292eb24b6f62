"""Which traces are kept."""
