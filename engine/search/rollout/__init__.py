"""Rollouts: what a search asks the model to write, and what comes back."""
