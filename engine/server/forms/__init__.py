"""Converts between the API and the engine: requests to `Sampling`; samples and log-probabilities to answers."""
