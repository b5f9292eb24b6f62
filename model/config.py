"""The config of a decoder-only model: its shape and constants."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """Rotary position embedding.

    Attributes:
        theta: Base of the frequencies.
        scaling: `"none"`, `"llama3"` (Llama 3.1 report) or `"yarn"` (arXiv 2309.00071).
        factor: By how much the context is stretched.
        original_positions: Context length before stretching.
        low_freq_factor: llama3: wavelengths longer than `original_positions / low_freq_factor` are fully stretched.
        high_freq_factor: llama3: wavelengths shorter than `original_positions / high_freq_factor` are kept.
        beta_fast: yarn: rotations within the original context above which a dimension is kept.
        beta_slow: yarn: rotations below which it is fully interpolated.
        attention_factor: Multiplies cosines and sines; 1 except for yarn.
    """

    theta: float
    scaling: str = "none"
    factor: float = 1.0
    original_positions: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float = 1.0


def yarn_attention_factor(factor: float) -> float:
    """YaRN's attention factor for a context stretched by `factor`, if the checkpoint does not set it."""
    return 0.1 * math.log(factor) + 1.0


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Shape and constants of a dense decoder.

    Attributes:
        architecture: `Architecture.name`.
        vocab_size: Rows of the embedding.
        hidden_size: Width of the residual stream.
        intermediate_size: Width of the SwiGLU.
        num_layers: Decoder layers.
        num_heads: Query heads.
        num_kv_heads: Key/value heads; the GQA group is `num_heads / num_kv_heads`.
        head_dim: Width of a head.
        rms_norm_eps: Added to the mean square in every norm.
        rope: Rotary position embedding.
        max_positions: Context length in tokens, including stretched positions. At most the sliding window, so that a
            token always sees all tokens before it.
        tied_embeddings: Whether the LM head shares the weights of the embedding.
        qkv_bias: Whether Q, K and V projections have a bias.
        eos_token_ids: Tokens that end a generation.
        bos_token_id: Token at the start of every document, if any.
        head_norms: Whether each head of Q and K is normed before RoPE.
        unrotated_layers: Numbers of the layers without RoPE, in ascending order.
        sliding_window: How many tokens a token sees, including itself; None for all.
    """

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float
    rope: RopeConfig
    max_positions: int
    tied_embeddings: bool
    qkv_bias: bool
    eos_token_ids: tuple[int, ...]
    bos_token_id: int | None
    head_norms: bool = False
    unrotated_layers: tuple[int, ...] = ()
    sliding_window: int | None = None

    @property
    def gqa_group(self) -> int:
        """Query heads that share one KV head."""
        return self.num_heads // self.num_kv_heads
