"""Checks and benchmarks that need a GPU: `make gpu-check` and `make gpu-tune`."""
