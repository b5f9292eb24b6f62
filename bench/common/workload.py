"""The workload of every contestant: decoding branches that continue one long prefix."""

from __future__ import annotations

from typing import NamedTuple

import torch
from marcot.model import KVCache, ModelConfig

PREFIX_TOKENS = 512
"""Tokens of the shared prefix: about a system prompt, a few examples and a question."""

NEW_TOKENS = 8
"""Tokens per branch and round. The first is drawn from the prefix's logits; each other one costs a forward pass."""

TOP_K = 20
"""Tokens are drawn from the `TOP_K` most probable ones; the five best also give the token confidence."""


class Workload(NamedTuple):
    """Decode `NEW_TOKENS` tokens on each of `branches` branches.

    Attributes:
        config: The model's shape.
        branches: How many branches continue the prefix.
        weight_bytes: Average bytes per weight in the checkpoint.
    """

    config: ModelConfig
    branches: int
    weight_bytes: float

    @property
    def tokens(self) -> int:
        """Tokens drawn in a round."""
        return self.branches * NEW_TOKENS

    def prefix(self, copy: int = 0) -> list[int]:
        """Return random token ids; copies differ in the first token, so that they share no prefix."""
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(1000, 10_000, (PREFIX_TOKENS,), generator=generator).tolist()
        return [copy, *ids[1:]]

    def read_bytes(self) -> float:
        """Bytes that a round must read at least: the weights as stored, and each cached token, once per step.

        The LM head also reads its weights for the first token; the shared prefix counts once, not once per branch.
        """
        config = self.config
        head = config.vocab_size * config.hidden_size
        steps = NEW_TOKENS - 1
        own_tokens = self.branches * steps * NEW_TOKENS // 2
        cached = (steps * PREFIX_TOKENS + own_tokens) * KVCache.token_bytes(config, torch.float32)
        return (steps * layer_weights(config) + NEW_TOKENS * head) * self.weight_bytes + cached

    def operations(self) -> int:
        """Floating-point operations of a round: for each token, every weight and every visible cached token."""
        config = self.config
        head = config.vocab_size * config.hidden_size
        steps = self.branches * (NEW_TOKENS - 1)
        visible = steps * (PREFIX_TOKENS + NEW_TOKENS // 2)
        attention = 2 * config.num_layers * config.num_heads * config.head_dim * visible
        return 2 * (steps * layer_weights(config) + self.tokens * head + attention)


def all_weights(config: ModelConfig) -> int:
    """Number of weights in all matrices; a tied LM head counts once."""
    return layer_weights(config) + (1 if config.tied_embeddings else 2) * config.vocab_size * config.hidden_size


def layer_weights(config: ModelConfig) -> int:
    """Number of weights in all layers: four attention matrices and three of SwiGLU per layer."""
    query = config.num_heads * config.head_dim
    kv = config.num_kv_heads * config.head_dim
    attention = config.hidden_size * (2 * query + 2 * kv)
    return config.num_layers * (attention + 3 * config.hidden_size * config.intermediate_size)
