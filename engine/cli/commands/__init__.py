"""The commands, one per file, and what their runs need."""
