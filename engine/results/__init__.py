"""Question files in, result files out."""
