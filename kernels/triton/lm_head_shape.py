"""How much of `lm_head_topk` a thread block takes at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton

from .arch import Arch

LISTS = (32, 64)
"""Room for the best tokens of a row; the smallest that holds `k` is taken."""

BLOCK_V = 128
"""Tokens of a tile."""

_INVARIANT_ROWS = 32
"""Rows of a thread block where results must not depend on the number of rows."""


class HeadShape(NamedTuple):
    """A launch.

    Attributes:
        rows: Rows of hidden states of a thread block. The weight passes through it once for all of them.
        columns: Columns that one turn of the loop takes.
        warps: Warps of a thread block.
        stages: Depth of the software pipeline.
        list: Room for the best tokens of a row.
        row_blocks: Thread blocks that share a tile of the vocabulary. They are neighbours in the grid and read the
            weight side by side, so that the L2 cache serves all but the first.
        shards: Parts of the vocabulary, each one thread block per block of rows: every `shards`-th tile.
    """

    rows: int
    columns: int
    warps: int
    stages: int
    list: int
    row_blocks: int
    shards: int


def blocks_of_rows(dtype: torch.dtype) -> tuple[int, ...]:
    """Rows of a thread block, the choices; fp32 has no tensor cores and needs the registers for operands."""
    return (16, 32) if dtype == torch.float32 else (16, 32, 64)


def list_of(k: int) -> int:
    """Room for the best `k` tokens."""
    return next(room for room in LISTS if room >= k)


def head_shape(
    arch: Arch, rows: int, first: int, outs: int, k: int, dtype: torch.dtype, columns: int = 64, invariant: bool = False
) -> HeadShape:
    """The launch for `rows` rows and the best `k` of the `outs` tokens from `first` on.

    Two thread blocks share a processor, so that one looks at its logits while the other reads; a block of 64 rows
    fills one. Together they are as many as run at once, each going through its part of the vocabulary.
    """
    choices = blocks_of_rows(dtype)
    block_m = _INVARIANT_ROWS if invariant else next((block for block in choices if block >= rows), choices[-1])
    warps, resident = (8, 1) if block_m == 64 else (4, 2)
    row_blocks = triton.cdiv(rows, block_m)
    tiles = triton.cdiv(first + outs, BLOCK_V) - first // BLOCK_V
    at_once = arch.processors * resident // (1 if invariant else row_blocks)
    return HeadShape(block_m, columns, warps, 3, list_of(k), row_blocks, max(1, min(at_once, tiles)))
