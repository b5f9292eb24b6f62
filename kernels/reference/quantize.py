"""Quantises activations to int8, as compute mode `fast` does."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 32
"""Columns that share a scale: the smallest block of the GGUF formats."""

SMALLEST = 2.0**-100
"""A block whose largest magnitude is below this becomes zeros: `127 / largest` must be finite in fp32."""


class QuantizedRows(NamedTuple):
    """Rows of activations.

    Attributes:
        values: `[rows, columns]` int8 in -127..127.
        scales: `[rows, columns / BLOCK]` fp32: a value stands for `values * scales`.
    """

    values: Tensor
    scales: Tensor


def quantize(x: Tensor) -> QuantizedRows:
    """Round `x` (`[rows, columns]`, columns a multiple of `BLOCK`) to int8, each block by its largest magnitude.

    Values are rounded to the nearest integer, ties to even. A block of zeros, or of numbers below `SMALLEST`, has scale
    0. A block with an infinity or a NaN has values 0 and scale NaN.
    """
    blocks = _blocks(x.float())
    largest = blocks.abs().amax(dim=-1, keepdim=True)
    finite = largest.isfinite()
    largest = torch.where(finite, torch.where(largest < SMALLEST, 0.0, largest), torch.nan)
    inverse = torch.where(largest > 0, torch.full_like(largest, 127) / largest, 0.0)  # a scalar's would round twice
    values = torch.where(finite, blocks * inverse, 0.0).round().to(torch.int8)
    return QuantizedRows(values.flatten(1), (largest / 127)[..., 0])


def round_trip(x: Tensor) -> Tensor:
    """Quantise `x` and convert it back to fp32: the values that compute mode `fast` multiplies."""
    quantized = quantize(x)
    return (_blocks(quantized.values.float()) * quantized.scales[..., None]).flatten(1)


def _blocks(x: Tensor) -> Tensor:
    """`[rows, columns / BLOCK, BLOCK]`."""
    return x.reshape(len(x), x.shape[1] // BLOCK, BLOCK)
