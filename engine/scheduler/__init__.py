"""Continuous batching: requests in, steps of the model, tokens out."""
