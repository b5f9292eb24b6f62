"""Weights in every format that checkpoints use, with arbitrary bits in their blocks."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from marcot.kernels import BlockTensor, Compute, Weight
from marcot.kernels.reference.quantize import BLOCK, quantize
from torch import Tensor


class Layout(NamedTuple):
    """The layout of a block of a GGUF format.

    Attributes:
        columns: Values in a block.
        bytes: Size of a block.
        scales: Offsets of its fp16 numbers; every other byte may have any value.
    """

    columns: int
    bytes: int
    scales: tuple[int, ...]


BLOCKS: Final = {
    "Q4_0": Layout(32, 18, (0,)),
    "Q4_1": Layout(32, 20, (0, 2)),
    "Q5_0": Layout(32, 22, (0,)),
    "Q5_1": Layout(32, 24, (0, 2)),
    "Q8_0": Layout(32, 34, (0,)),
    "Q4_K": Layout(256, 144, (0, 2)),
    "Q5_K": Layout(256, 176, (0, 2)),
    "Q6_K": Layout(256, 210, (208,)),
}

DENSE: Final = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}

FORMATS: Final = (*DENSE, *BLOCKS)

MODES: Final[list[tuple[str, Compute]]] = [
    *((format, "exact") for format in FORMATS),
    *((format, "fast") for format in BLOCKS),
]
"""Every format, in every compute mode that supports it."""

MODE_IDS: Final = ["-".join(mode) for mode in MODES]


def random_weight(format: str, rows: int, columns: int, random: torch.Generator) -> Weight:
    """A matrix of this format with random values, or random blocks."""
    if format in DENSE:
        return torch.randn(rows, columns, generator=random).to(DENSE[format])
    blocks = rows * columns // BLOCKS[format].columns
    data = torch.randint(0, 256, (blocks, BLOCKS[format].bytes), generator=random, dtype=torch.uint8)
    return _with_scales(data, format, rows, columns, torch.randn(blocks, 2, generator=random) / 64)


def integer_weight(format: str, rows: int, columns: int, random: torch.Generator) -> BlockTensor:
    """A matrix with any codes and inner scales, and block scales of 1, so that its values are integers."""
    blocks = rows * columns // BLOCKS[format].columns
    data = torch.randint(0, 256, (blocks, BLOCKS[format].bytes), generator=random, dtype=torch.uint8)
    return _with_scales(data, format, rows, columns, torch.ones(blocks, 2))


def filled_weight(format: str, rows: int, columns: int, byte: int) -> BlockTensor:
    """A matrix whose codes and inner scales are all made of one byte, with block scales of 1/64."""
    blocks = rows * columns // BLOCKS[format].columns
    data = torch.full((blocks, BLOCKS[format].bytes), byte, dtype=torch.uint8)
    return _with_scales(data, format, rows, columns, torch.full((blocks, 2), 1 / 64))


def _with_scales(data: Tensor, format: str, rows: int, columns: int, scales: Tensor) -> BlockTensor:
    halves = scales.to(torch.float16).view(torch.uint8)
    for number, begin in enumerate(BLOCKS[format].scales):
        data[:, begin : begin + 2] = halves[:, 2 * number : 2 * number + 2]
    return BlockTensor(data.view(rows, -1), format, columns)


def values(weight: Weight) -> Tensor:
    """The values of a weight, in fp32."""
    return weight.dequantize() if isinstance(weight, BlockTensor) else weight.float()


def product(x: Tensor, weight: Weight, compute: Compute) -> Tensor:
    """`x weightᵀ` in fp64. In the fast mode, if the weight is quantised, `x` is rounded first."""
    wide = x.double()
    if compute == "fast" and isinstance(weight, BlockTensor):
        codes, scales = quantize(x)
        wide = codes.double() * scales.double().repeat_interleave(BLOCK, dim=1)
    return wide @ values(weight).double().t()


def assert_close(y: Tensor, expected: Tensor, x: Tensor, weight: Weight) -> None:
    """Compare a product with its fp64 value, relative to the lengths of its two rows.

    Products of random rows are about that large, and their rounding errors are proportional to it.
    """
    lengths = torch.outer(x.double().norm(dim=1), values(weight).double().norm(dim=1))
    assert y.dtype == torch.float32
    assert y.shape == expected.shape
    off = ((y.double() - expected).abs() / lengths.clamp(min=1e-30)).flatten().tolist()
    assert max(off, default=0) < TOLERANCE, f"off by {max(off):.1e} of both rows' lengths"


TOLERANCE: Final = 5e-7
