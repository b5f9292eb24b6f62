"""The minimum work of a decode step with many branches: bytes to read and operations to do."""

from __future__ import annotations

from typing import NamedTuple

from marcot.model import ModelConfig


class Step(NamedTuple):
    """A step that computes one token of each branch, where all branches share one prefix.

    Attributes:
        config: The model's shape.
        branches: Rows of the step.
        prefix: Tokens of the shared prefix.
        own: Tokens of a branch behind the prefix, on average over a round.
    """

    config: ModelConfig
    branches: int
    prefix: int
    own: float

    def read_bytes(self, weight_bytes: int, kv_token_bytes: int) -> float:
        """Bytes of the weights as stored and of every cached token, each read once."""
        return weight_bytes + (self.prefix + self.branches * self.own) * kv_token_bytes

    def operations(self) -> float:
        """Floating-point operations: for each row, every weight and every visible cached token."""
        config = self.config
        weights = layer_weights(config) + config.vocab_size * config.hidden_size
        attention = 2 * config.num_layers * config.num_heads * config.head_dim * (self.prefix + self.own)
        return 2 * self.branches * (weights + attention)


def layer_weights(config: ModelConfig) -> int:
    """Number of weights in all layers: four attention matrices and three of SwiGLU per layer."""
    query = config.num_heads * config.head_dim
    kv = config.num_kv_heads * config.head_dim
    attention = config.hidden_size * (2 * query + 2 * kv)
    return config.num_layers * (attention + 3 * config.hidden_size * config.intermediate_size)
