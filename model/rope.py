"""Rotary position embedding: the frequencies of each scaling scheme."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .config import RopeConfig


class Rope:
    """Cosines and sines for any position."""

    def __init__(self, config: RopeConfig, head_dim: int, device: torch.device) -> None:
        """Compute the inverse frequencies of `config` once, in fp32."""
        self._frequencies = inverse_frequencies(config, head_dim).to(device)
        self._factor = config.attention_factor

    def table(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of `positions` (`[rows]`), each `[rows, head_dim / 2]` fp32, attention factor included."""
        angles = torch.outer(positions, self._frequencies)
        cos, sin = angles.cos(), angles.sin()
        return (cos, sin) if self._factor == 1 else (cos * self._factor, sin * self._factor)


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
        """The pair that makes `rotations` full turns over the original context."""
        turns = config.original_positions / (rotations * 2 * math.pi)
        return head_dim * math.log(turns) / (2 * math.log(config.theta))

    first = max(math.floor(dimension(config.beta_fast)), 0)
    last = min(math.ceil(dimension(config.beta_slow)), head_dim - 1)
    width = last - first or 0.001
    stretched = ((torch.arange(head_dim // 2, dtype=torch.float32) - first) / width).clamp(0, 1)
    return stretched * frequencies / config.factor + (1 - stretched) * frequencies
