"""Between requests and the engine: how tokens are drawn, and how samples and log-probabilities are written."""
