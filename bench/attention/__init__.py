"""What attention over trees reads, and what planning it costs: `make bench-bytes` and `make bench-planner`."""
