"""Rounds: up to 16 tokens per branch, decoded without waiting for the host."""
