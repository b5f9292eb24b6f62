"""Rollouts: chains that a search lets the model generate."""
