"""How much of `lm_head_topk` is done at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

import torch
import triton

from ..arch import Arch
from ..linear.block_codes import CodeFormat

DENSE = CodeFormat(16, 1, 0, has_minimums=False, nested=False)
"""Stands for a dense matrix."""

TILE = 128
"""Tokens whose largest logit is noted. A tile begins at a multiple of it."""

CHOSEN = 256
"""Tiles, and then tokens, that the merge puts in order; a little more than the `k` wanted as a rule."""

_COLUMNS = 64
"""Columns that one turn of the loop takes, where a group is not longer: the codes of a word of four bits."""

MOST_SAMPLED = 512
"""Tiles of a sample at most: what one warp looks at."""

_LOGITS = 5 << 20
"""Logits that are written out without asking whether they matter: 20 MB, 34 rows of 152,064 tokens."""

_INVARIANT_ROWS = 16
"""Rows of a thread block where results must not depend on the number of rows."""


class TileShape(NamedTuple):
    """What a thread block takes at once.

    Attributes:
        rows: Rows of hidden states. The weight passes through it once for all of them.
        columns: Columns that one turn of the loop takes.
        warps: Warps of a thread block.
        stages: Depth of the software pipeline.
        resident: Thread blocks that share a processor, so that one looks at its logits while the other multiplies.
        registers: What the compiler may give a thread; None leaves it to the compiler.
        draws: Whether there is code for draws.
        parts: In how many parts the logits of a tile are looked at, so that numbers about them fit in registers.
    """

    rows: int
    columns: int
    warps: int
    stages: int
    resident: int
    registers: int | None = None
    draws: bool = True
    parts: int = 4


# Measured on an H200 and read off the binaries (`make kernel-report`): nothing spills. By the rows of a thread block.
# Not told that there are 255 registers, the compiler takes 128 for 16 rows, and spills.
_DENSE: Final[Mapping[str, Mapping[int, TileShape]]] = {
    "sm_90": {
        16: TileShape(16, 64, 4, 5, 2, 255),
        64: TileShape(64, 64, 4, 3, 2),
        128: TileShape(128, 64, 8, 3, 2, 128, draws=False),
    },
    # A product of 64 rows has its sums in memory of its own, and moves them to registers with others beside.
    "sm_100": {16: TileShape(16, 64, 4, 3, 2, 255), 32: TileShape(32, 64, 4, 3, 2, 255)},
    "nvidia": {16: TileShape(16, 64, 4, 3, 2, 255), 64: TileShape(64, 64, 8, 3, 1, 255)},
    "cdna": {16: TileShape(16, 64, 4, 2, 2), 64: TileShape(64, 64, 8, 2, 1)},
    "rdna": {16: TileShape(16, 64, 8, 3, 2, parts=1), 64: TileShape(64, 64, 16, 2, 1, parts=1)},
}
_QUANTIZED: Final[Mapping[str, TileShape]] = {
    "nvidia": TileShape(16, 64, 4, 3, 2, 255),
    "sm_100": TileShape(16, 64, 8, 3, 1, 255),
    "sm_120": TileShape(16, 64, 8, 3, 1, 255),
    "cdna": TileShape(16, 64, 4, 2, 2),
    "rdna": TileShape(16, 64, 4, 1, 4, parts=1),  # operands lie in registers twice: no room for a second stage
}


def _dense(arch: Arch) -> Mapping[int, TileShape]:
    return _DENSE.get(arch.name) or _DENSE.get(arch.family) or _DENSE["nvidia"]


def blocks_of_rows(arch: Arch, format: CodeFormat, dtype: torch.dtype) -> tuple[int, ...]:
    """Rows of a thread block, the choices.

    What larger ones save are reads of the weight from the L2 cache. Codes are so few bytes that it is not worth a
    binary; fp32 has no tensor cores and needs the registers for operands.
    """
    return (16,) if format != DENSE or dtype == torch.float32 else tuple(_dense(arch))


@cache
def tile_shape(
    arch: Arch, format: CodeFormat, rows: int, dtype: torch.dtype, has_draw: bool, invariant: bool = False
) -> TileShape:
    """The launch for `rows` rows. A draw takes the registers that a second thread block of 128 rows would need."""
    if format != DENSE:
        shape = _QUANTIZED.get(arch.family, _QUANTIZED["nvidia"])
        return shape._replace(columns=max(_COLUMNS, format.group))
    choices = blocks_of_rows(arch, format, dtype)
    wanted = _INVARIANT_ROWS if invariant else min(rows, choices[-1])
    shape = _dense(arch)[next(block for block in choices if block >= wanted)]
    if has_draw and not shape.draws:
        shape = shape._replace(resident=1, registers=None, draws=True)
    if invariant or dtype == torch.float32:
        return shape
    return arch.tuning.shape("lm_head_topk", tuned_kind(shape), shape.rows, TILE, shape)


def tuned_kind(shape: TileShape) -> str:
    """What tuning tables call the head of a dense weight in 16 bits."""
    return "dense" if shape.draws else "dense, no draw"


def shards_for(arch: Arch, shape: TileShape, rows: int, tiles: int, invariant: bool = False) -> int:
    """Thread blocks for each block of rows, as many as run at once, each going through its part of `tiles`."""
    row_blocks = 1 if invariant else triton.cdiv(rows, shape.rows)
    return max(1, min(arch.processors * shape.resident // row_blocks, tiles))


def rows_at_once(tiles: int) -> int:
    """Rows whose logits may all be written out."""
    return max(1, _LOGITS // (tiles * TILE))


class Sample(NamedTuple):
    """Tiles whose logits are written out first, to know a bound for the others.

    Attributes:
        step: Every how manyth tile is one.
        tiles: How many there are.
        others: How many other tiles there are.
        capacity: Room for rows of tiles: those of the sample, and of the others as many as may be above the bound.
    """

    step: int
    tiles: int
    others: int
    capacity: int


def sample_of(tiles: int, shards: int, k: int) -> Sample:
    """One that keeps `shards` thread blocks busy once.

    Of the tiles behind the sample, about `k (step - 1)` are above the sample's `k`-th; their standard deviation is
    `step` times the root of `k` if tiles are in random order. There is room for twice as many.
    """
    step = max(2, triton.cdiv(tiles, min(shards, MOST_SAMPLED)))
    amount = triton.cdiv(tiles, step)
    return Sample(step, amount, tiles - amount, min(tiles, amount + 2 * k * (step - 1) + 64))
