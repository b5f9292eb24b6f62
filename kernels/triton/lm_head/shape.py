"""Launch shapes of `lm_head_topk`: how much it does at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

import torch
import triton

from ..arch import Arch
from ..linear.block_codes import CodeFormat

DENSE = CodeFormat(16, 1, 0, has_minimums=False, nested=False)
"""Stands for a dense matrix where a `CodeFormat` is expected."""

TILE = 128
"""Tokens of a tile, whose largest logit is recorded. A tile begins at a multiple of this."""

CHOSEN = 256
"""Maximum number of tiles, and then of tokens, that the merge sorts; usually there are few more than the `k` wanted."""

_COLUMNS = 64
"""Columns per loop iteration, unless a group is longer: a strip of 4-bit codes."""

MOST_SAMPLED = 512
"""Maximum number of tiles of a sample: what one warp can handle."""

_LOGITS = 5 << 20
"""Up to this many logits are written without checking whether they matter: 20 MB, or 34 rows of 152,064 tokens."""

_INVARIANT_ROWS = 16
"""Rows of a thread block if results must not depend on the number of rows."""


class TileShape(NamedTuple):
    """The launch shape of a thread block.

    Attributes:
        rows: Rows of hidden states. The thread block reads its part of the weight once for all of them.
        columns: Columns per loop iteration.
        warps: Warps of a thread block.
        stages: Depth of the software pipeline.
        resident: Thread blocks that share a processor, so that one processes its logits while the other multiplies.
        registers: Maximum registers per thread; None leaves it to the compiler.
        draws: Whether the binary has code for draws.
        parts: Number of parts in which the logits of a tile are processed, so that intermediate values fit in
            registers.
    """

    rows: int
    columns: int
    warps: int
    stages: int
    resident: int
    registers: int | None = None
    draws: bool = True
    parts: int = 4


# By the rows of a thread block. Measured on an H200; the binaries (`make kernel-report`) show that nothing spills.
# Without an explicit limit of 255 registers, the compiler uses 128 for 16 rows, and spills.
_DENSE: Final[Mapping[str, Mapping[int, TileShape]]] = {
    "sm_90": {
        16: TileShape(16, 64, 4, 5, 2, 255),
        64: TileShape(64, 64, 4, 3, 2),
        128: TileShape(128, 64, 8, 3, 2, 128, draws=False),
    },
    # A product of 64 rows keeps its sums in tensor memory, and needs further registers to move them out.
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
    "rdna": TileShape(16, 64, 4, 1, 4, parts=1),  # operands are in registers twice: no room for a second stage
}


def _dense(arch: Arch) -> Mapping[int, TileShape]:
    return _DENSE.get(arch.name) or _DENSE.get(arch.family) or _DENSE["nvidia"]


def blocks_of_rows(arch: Arch, format: CodeFormat, dtype: torch.dtype) -> tuple[int, ...]:
    """The numbers of rows that a thread block may have, in ascending order.

    Larger blocks save reads of the weight from the L2 cache. For quantised weights, that saves too few bytes to be
    worth another binary; fp32 has no tensor cores and needs the registers for operands.
    """
    return (16,) if format != DENSE or dtype == torch.float32 else tuple(_dense(arch))


@cache
def tile_shape(
    arch: Arch, format: CodeFormat, rows: int, dtype: torch.dtype, has_draw: bool, invariant: bool = False
) -> TileShape:
    """The shape for `rows` rows. A draw takes the registers that a second thread block of 128 rows would need."""
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
    """The name in tuning tables for an LM head with a dense 16-bit weight."""
    return "dense" if shape.draws else "dense, no draw"


def shards_for(arch: Arch, shape: TileShape, rows: int, tiles: int, invariant: bool = False) -> int:
    """Number of thread blocks per block of rows: as many as run at once, each with its share of `tiles`."""
    row_blocks = 1 if invariant else triton.cdiv(rows, shape.rows)
    return max(1, min(arch.processors * shape.resident // row_blocks, tiles))


def rows_at_once(tiles: int) -> int:
    """The number of rows that may have all their logits written to memory."""
    return max(1, _LOGITS // (tiles * TILE))


class Sample(NamedTuple):
    """The tiles that are multiplied first, to get a bound for the others.

    Attributes:
        step: Every `step`-th tile is in the sample.
        tiles: Number of tiles in the sample.
        others: Number of all other tiles.
        capacity: Number of tiles that can be stored per row: the sample's, and those expected to be above its bound.
    """

    step: int
    tiles: int
    others: int
    capacity: int


def sample_of(tiles: int, shards: int, k: int) -> Sample:
    """Choose a sample that keeps `shards` thread blocks busy once.

    Of the tiles outside the sample, about `k (step - 1)` are above the sample's `k`-th best; if tiles are in random
    order, the standard deviation of this number is `step` times the root of `k`. There is room for twice as many.
    """
    step = max(2, triton.cdiv(tiles, min(shards, MOST_SAMPLED)))
    amount = triton.cdiv(tiles, step)
    return Sample(step, amount, tiles - amount, min(tiles, amount + 2 * k * (step - 1) + 64))
