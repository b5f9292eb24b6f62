"""Rounds of tokens decoded without the host."""
