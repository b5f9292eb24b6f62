"""Filters that decide which traces are kept."""
