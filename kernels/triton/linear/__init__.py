"""Linear layers and quantised weights."""
