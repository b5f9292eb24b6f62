"""Decoding on the CPU: `make bench` and `make bench-cpu`."""
