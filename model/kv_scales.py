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
    """Scales for every layer with which no K or V is too large for `pages`, whatever the text.

    They follow from the weights. A normed row has a length of at most `sqrt(hidden)` before it is multiplied by the
    norm's weight, so that no output of a projection `w` with bias `b` exceeds `sqrt(hidden) |w * norm| + |b|` (Cauchy
    and Schwarz). Where heads of K are normed, none exceeds `sqrt(head_dim)` times that norm's weight. RoPE turns pairs
    of outputs, which no more than adds them as the sides of a right angle. So the first text that is seen decides
    nothing, and pages can be shared by all. The price is small, as fp8 is floating point: a bound that is ten times too
    large costs three of the exponents below, of which E4M3 has 18 and E5M2 32.

    Scales are powers of two, so that dividing by them rounds nothing. The order of sums and the rounding of activations
    in `fast` can exceed a bound by a little; such values become the largest number that there is.

    Args:
        checkpoint: Whose weights.
        weights: What its matrices are kept as.
        pages: `Kernels.fp8_dtype`.
        device: Where the scales are wanted.

    Raises:
        NonFiniteError: There is no bound that fp32 holds.
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
    """Bounds of all normed heads of K, one after the other, `[kv_heads * head_dim]` fp32."""
    config = checkpoint.config
    bounds: Tensor = _vector(checkpoint, norm).abs() * config.head_dim**0.5
    return bounds.repeat(config.num_kv_heads)


def _vector(checkpoint: Checkpoint, name: str) -> Tensor:
    vector = checkpoint.tensor(name)
    assert isinstance(vector, Tensor), "the decoder has read it as a vector"
    return vector.float()


def _power_of_two(least: Tensor) -> Tensor:
    """The smallest powers of two that are not below `least`; 1 for 0."""
    mantissa, exponent = torch.frexp(least)
    return torch.ldexp(torch.ones_like(least), torch.where(mantissa == 0.5, exponent - 1, exponent))
