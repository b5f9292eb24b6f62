"""The LM head with top-k, log-sum-exp and the Gumbel draw."""
