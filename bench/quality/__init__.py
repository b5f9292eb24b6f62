"""Measures how much fast compute changes predictions and answers: `make bench-quality`."""
