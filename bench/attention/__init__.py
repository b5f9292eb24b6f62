"""Counts what attention over trees reads, and times its planning: `make bench-bytes` and `make bench-planner`."""
