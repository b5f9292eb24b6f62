"""Rotary position embedding: the frequencies of each scaling scheme, and the layers that have none."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .config import ModelConfig, RopeConfig


class Rope:
    """Computes cosines and sines of positions: one table for layers with RoPE, and a second for any layers without."""

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        """Compute the inverse frequencies of `config` once, in fp32; they are 0 for layers without RoPE."""
        frequencies = inverse_frequencies(config.rope, config.head_dim)
        factors = torch.tensor([config.rope.attention_factor, 1.0])
        tables = 2 if config.unrotated_layers else 1
        self._frequencies = torch.stack((frequencies, torch.zeros_like(frequencies)))[:tables, None].to(device)
        self._factors = None if config.rope.attention_factor == 1 else factors[:tables, None, None].to(device)
        self._unrotated = frozenset(config.unrotated_layers)

    def table_of(self, layer: int) -> int:
        """The index of the table that layer number `layer` uses."""
        return int(layer in self._unrotated)

    def tables(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of `positions` (`[rows]`), attention factor included.

        Returns:
            Both `[tables, rows, head_dim / 2]` fp32.
        """
        angles = positions[:, None] * self._frequencies
        cos, sin = angles.cos(), angles.sin()
        return (cos, sin) if self._factors is None else (cos * self._factors, sin * self._factors)


def inverse_frequencies(config: RopeConfig, head_dim: int) -> Tensor:
    """`[head_dim / 2]` fp32: radians per position of each rotated pair."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
    frequencies = 1.0 / config.theta**exponents
    if config.scaling == "llama3":
        return _llama3(frequencies, config)
    if config.scaling == "yarn":
        return _yarn(frequencies, config, head_dim)
    return frequencies


def _llama3(frequencies: Tensor, config: RopeConfig) -> Tensor:
    """Stretch long wavelengths, keep short ones, blend between (Llama 3.1's context extension)."""
    rotations = config.original_positions * frequencies / (2 * math.pi)
    low, high = config.low_freq_factor, config.high_freq_factor
    kept = ((rotations - low) / (high - low)).clamp(0, 1)
    return kept * frequencies + (1 - kept) * frequencies / config.factor


def _yarn(frequencies: Tensor, config: RopeConfig, head_dim: int) -> Tensor:
    """Interpolate slow dimensions, keep fast ones, ramp between (YaRN, arXiv 2309.00071, section 3.2)."""

    def dimension(rotations: float) -> float:
        """The (fractional) index of the pair that makes `rotations` full turns over the original context."""
        turns = config.original_positions / (rotations * 2 * math.pi)
        return head_dim * math.log(turns) / (2 * math.log(config.theta))

    first = max(math.floor(dimension(config.beta_fast)), 0)
    last = min(math.ceil(dimension(config.beta_slow)), head_dim - 1)
    width = last - first or 0.001
    stretched = ((torch.arange(head_dim // 2, dtype=torch.float32) - first) / width).clamp(0, 1)
    return stretched * frequencies / config.factor + (1 - stretched) * frequencies
