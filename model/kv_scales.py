"""Computes the scales of an fp8 KV cache from the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from ..kernels import BlockTensor, KVScales, NonFiniteError
from .checkpoint import Checkpoint
from .weight_format import WeightFormat, converted


def kv_scales(
    checkpoint: Checkpoint, weights: WeightFormat, pages: torch.dtype, device: torch.device
) -> list[KVScales]:
    """Scales for every layer such that K and V always fit in the range of `pages`, whatever the text.

    They are computed from the weights. A normed row has a length of at most `sqrt(hidden)` before it is multiplied by
    the norm's weight, so that by Cauchy-Schwarz, no output of a projection `w` with bias `b` exceeds
    `sqrt(hidden) |w * norm| + |b|`. If heads of K are normed, no output exceeds `sqrt(head_dim)` times the weight of
    that norm. RoPE rotates pairs of outputs, so that a rotated value is at most the root of the sum of both squares.
    Thus scales do not depend on any text, and pages can be shared by all requests. The loss of precision is small,
    because fp8 is a floating-point format: a bound that is ten times too large costs about three exponents, of which
    E4M3 has 18 and E5M2 32.

    Scales are powers of two, so that dividing by them is exact. The order of sums, and rounded activations in `fast`,
    can exceed a bound slightly; such values are clamped to the largest fp8 number.

    Args:
        checkpoint: The checkpoint with the weights.
        weights: The storage format of its matrices.
        pages: `Kernels.fp8_dtype`.
        device: Device of the scales.

    Raises:
        NonFiniteError: A bound is too large for fp32.
    """
    config, largest = checkpoint.config, torch.finfo(pages).max
    scales = []
    for index in range(config.num_layers):
        attention, norm = (f"model.layers.{index}.{part}" for part in ("self_attn", "input_layernorm.weight"))
        v = _largest_outputs(checkpoint, f"{attention}.v_proj", norm, weights)
        if config.head_norms:
            k = _largest_normed(checkpoint, f"{attention}.k_norm.weight")
        else:
            k = _largest_outputs(checkpoint, f"{attention}.k_proj", norm, weights)
        turned = k.view(-1, 2, config.head_dim // 2).norm(dim=1)
        if index not in config.unrotated_layers:
            turned = turned * config.rope.attention_factor
        heads = (turned.amax(dim=1), v.view(-1, config.head_dim).amax(dim=1))
        scales.append(KVScales(*(_power_of_two(each / largest).to(device) for each in heads)))
    return scales


def _largest_outputs(checkpoint: Checkpoint, projection: str, norm: str, weights: WeightFormat) -> Tensor:
    """Bounds of a projection's outputs, `[out_features]` fp32."""
    name = f"{projection}.weight"
    matrix = converted(checkpoint.tensor(name), name, weights)
    values = matrix.dequantize() if isinstance(matrix, BlockTensor) else matrix.float()
    bounds: Tensor = (values * _vector(checkpoint, norm)).norm(dim=1) * checkpoint.config.hidden_size**0.5
    if checkpoint.config.qkv_bias:
        bounds = bounds + _vector(checkpoint, f"{projection}.bias").abs()
    if not bounds.isfinite().all():
        raise NonFiniteError(
            f"{checkpoint.path}: {projection} may give numbers that are too large for any fp8 scale: use "
            "--kv-dtype auto"
        )
    return bounds


def _largest_normed(checkpoint: Checkpoint, norm: str) -> Tensor:
    """Bounds of all normed heads of K, concatenated, `[kv_heads * head_dim]` fp32."""
    config = checkpoint.config
    bounds: Tensor = _vector(checkpoint, norm).abs() * config.head_dim**0.5
    return bounds.repeat(config.num_kv_heads)


def _vector(checkpoint: Checkpoint, name: str) -> Tensor:
    vector = checkpoint.tensor(name)
    assert isinstance(vector, Tensor), "the decoder has read it as a vector"
    return vector.float()


def _power_of_two(least: Tensor) -> Tensor:
    """The smallest power of two that is at least `least`, element by element; 1 for 0."""
    mantissa, exponent = torch.frexp(least)
    return torch.ldexp(torch.ones_like(least), torch.where(mantissa == 0.5, exponent - 1, exponent))
