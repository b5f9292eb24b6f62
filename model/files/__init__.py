"""Reading and writing files that can be hostile, cut short or in use."""
