"""How much of `lm_head_topk` a thread block takes at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import torch
import triton

from .arch import Arch
from .block_codes import CodeFormat

DENSE = CodeFormat(16, 1, 0, has_minimums=False, nested=False)
"""Stands for a dense matrix."""

BLOCK_V = 128
"""Tokens of a tile."""

_COLUMNS = 64
"""Columns that one turn of the loop takes, where a group is not longer: the codes of a word of four bits."""

_LISTS = {16: 64, 32: 32, 64: 32}
"""Room for the best tokens of each row, by the rows of a thread block: what registers have room for."""

_INVARIANT_ROWS = 16
"""Rows of a thread block where results must depend neither on the number of rows nor on the `k` that others want."""


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


def blocks_of_rows(format: CodeFormat, dtype: torch.dtype) -> tuple[int, ...]:
    """Rows of a thread block, the choices.

    What larger ones save are reads of the weight from the L2 cache. Codes are so few bytes that it is not worth a
    binary; fp32 has no tensor cores and needs the registers for operands.
    """
    if format != DENSE:
        return (16,)
    return (16, 32) if dtype == torch.float32 else (16, 32, 64)


class _Block(NamedTuple):
    """Warps and stages as in `HeadShape`, and how many such thread blocks share a processor."""

    warps: int
    stages: int
    resident: int


# Read off the binaries (`make kernel-report`): nothing spills, and where registers suffice two thread blocks share a
# processor, so that one looks at its logits while the other reads. By the rows of a thread block.
_DENSE: Final[Mapping[str, Mapping[int, _Block]]] = {
    "nvidia": {16: _Block(4, 3, 2), 32: _Block(4, 3, 2), 64: _Block(8, 3, 1)},
    "cdna": {16: _Block(4, 2, 2), 32: _Block(4, 2, 2), 64: _Block(8, 2, 1)},
    "rdna": {16: _Block(8, 3, 2), 32: _Block(8, 3, 2), 64: _Block(16, 2, 1)},
}
_QUANTIZED: Final[Mapping[str, Mapping[int, _Block]]] = {
    "nvidia": {16: _Block(4, 3, 2)},
    "sm_100": {16: _Block(8, 3, 1)},
    "sm_120": {16: _Block(8, 3, 1)},
    "cdna": {16: _Block(4, 2, 2)},
    "rdna": {16: _Block(4, 1, 4)},  # operands lie in registers twice: no room for a second stage
}


def head_shape(
    arch: Arch,
    format: CodeFormat,
    rows: int,
    first: int,
    outs: int,
    k: int,
    dtype: torch.dtype,
    invariant: bool = False,
) -> HeadShape:
    """The launch for `rows` rows and the best `k` of the `outs` tokens from `first` on.

    The thread blocks are as many as run at once, each going through its part of the vocabulary.
    """
    choices = [block for block in blocks_of_rows(format, dtype) if _LISTS[block] >= k]
    wanted = _INVARIANT_ROWS if invariant else min(rows, choices[-1])
    block_m = next(block for block in choices if block >= wanted)
    table = _DENSE if format == DENSE else _QUANTIZED
    warps, stages, resident = table.get(arch.family, table["nvidia"])[block_m]
    row_blocks = triton.cdiv(rows, block_m)
    tiles = triton.cdiv(first + outs, BLOCK_V) - first // BLOCK_V
    at_once = arch.processors * resident // (1 if invariant else row_blocks)
    columns = max(_COLUMNS, format.group)
    return HeadShape(block_m, columns, warps, stages, _LISTS[block_m], row_blocks, max(1, min(at_once, tiles)))
