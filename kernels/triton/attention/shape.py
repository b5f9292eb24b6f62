"""How much of `tree_attention` a thread block takes at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

import torch

from ...plan import Tiling
from ..arch import Arch

PAGE_SIZE = 16
"""Tokens of a page of the engine's caches; the kernels are compiled for it, and would be for another one."""

BLOCKS_OF_ROWS = (16, 32, 64, 128)
"""(Row, head) pairs of a tile. Tensor cores take 16 at least; at 128 the products take about as long as the reads."""

_RESIDENT = 2
"""Thread blocks that share a processor at least: one computes while the other waits for its first tokens."""


class AttentionShape(NamedTuple):
    """What the kernel is compiled for.

    Attributes:
        tokens: Tokens of a block.
        warps: Warps of a thread block.
        stages: Depth of the software pipeline: while a block of tokens is computed, `stages - 1` are there or on their
            way.
    """

    tokens: int
    warps: int
    stages: int


_Shapes = Mapping[int, AttentionShape]


def _shapes(*shapes: tuple[int, int, int]) -> _Shapes:
    """One for each of `BLOCKS_OF_ROWS`."""
    return {block: AttentionShape(*shape) for block, shape in zip(BLOCKS_OF_ROWS, shapes, strict=True)}


# Read off the binaries (`make kernel-report`), in this order: nothing spills; on sm_80 and sm_90 a processor holds two
# thread blocks, however many rows they have; blocks of tokens are large, and one more of them is on its way. 64 tokens
# of K and V of a head of 128 are 32 KB, while a processor of an A100 or an H100 has 10 to 20 KB on their way when it
# reads as fast as memory allows. The queries take shared memory as well, scores and sums take registers: beside 128
# rows, 255 registers per thread have room for 32 tokens. Eight warps need half as many, but then only one block fits.
_HEADS_OF_128: Final[Mapping[str, _Shapes]] = {
    "sm_80": _shapes((64, 4, 3), (64, 4, 3), (32, 4, 4), (32, 4, 3)),
    "sm_86": _shapes((32, 4, 3), (32, 4, 3), (32, 4, 2), (64, 8, 2)),  # 99 KB of shared memory instead of 163
    "sm_90": _shapes((128, 4, 2), (64, 4, 3), (64, 4, 3), (32, 4, 3)),
    "sm_100": _shapes((64, 4, 3), (64, 4, 3), (64, 4, 3), (64, 8, 2)),
    "cdna": _shapes((32, 4, 2), (32, 4, 2), (32, 4, 2), (32, 4, 2)),  # 64 KB; the stage on its way is in registers
    "rdna": _shapes((32, 4, 2), (16, 4, 2), (16, 16, 1), (32, 16, 1)),  # operands lie in registers twice
}
_HEADS_OF_64: Final[Mapping[str, _Shapes]] = {
    "nvidia": _shapes((64, 4, 3), (64, 4, 3), (64, 4, 3), (64, 4, 3)),
    "sm_90": _shapes((128, 4, 2), (128, 4, 2), (128, 4, 2), (64, 4, 3)),
    "sm_100": _shapes((128, 4, 3), (64, 4, 3), (64, 4, 3), (64, 4, 3)),  # 64 of 16 rows in fp8 spill for no reason
    "cdna": _shapes((64, 4, 2), (64, 4, 2), (64, 4, 2), (64, 4, 2)),
    "rdna": _shapes((32, 4, 2), (32, 4, 2), (32, 8, 2), (32, 8, 2)),
}
_EIGHT_BITS_OF_64: Final[Mapping[str, _Shapes]] = {
    "sm_90": _shapes((128, 4, 2), (128, 4, 2), (64, 4, 1), (64, 4, 1)),
}
_EIGHT_BITS_OF_128: Final[Mapping[str, _Shapes]] = {
    "sm_90": _shapes((128, 4, 2), (64, 4, 3), (64, 4, 1), (32, 4, 2)),
}
"""Where other shapes are right for pages of 8 bits. One stage has those that are read ahead into registers."""

_WIDER: Final = AttentionShape(16, 8, 2)
"""For fp32, which tensor cores would round, and for wider heads, which no model here has; not made to be fast."""


@cache
def attention_shape(arch: Arch, block_m: int, block_d: int, dtype: torch.dtype, pages: torch.dtype) -> AttentionShape:
    """The shape for `block_m` (row, head) pairs and heads padded to `block_d`; `pages` may be narrower than `dtype`."""
    if dtype == torch.float32 or block_d > 128:
        return _WIDER
    family = _family(arch)
    if block_d == 128:
        shapes, narrow = _HEADS_OF_128[family], _EIGHT_BITS_OF_128
    else:
        shapes, narrow = _HEADS_OF_64.get(family, _HEADS_OF_64["nvidia"]), _EIGHT_BITS_OF_64
    if pages.itemsize == 1:
        shapes = narrow.get(family, shapes)
    own = shapes[block_m]
    return arch.tuning.shape("tree_attention", tuned_kind(pages), block_m, block_d, own)


def tuned_kind(pages: torch.dtype) -> str:
    """What tuning tables call attention on `pages`: all numbers of 16 bits are alike."""
    return "16 bits" if pages.itemsize == 2 else "16 bits, 8-bit pages"


def _family(arch: Arch) -> str:
    """The key of `arch` in the table: that of the nearest architecture that has been looked at."""
    if arch.backend == "hip":
        return "cdna" if arch.warp == 64 else "rdna"
    capability = int(arch.name.removeprefix("sm_"))
    if capability in (80, 90):
        return arch.name
    return "sm_100" if 100 <= capability < 120 else "sm_86"


def tiling(arch: Arch, heads: int, kv_heads: int) -> Tiling:
    """See `Kernels.tiling`."""
    group = heads // kv_heads
    assert group <= BLOCKS_OF_ROWS[-1], f"{group} query heads per KV head are more than a tile holds"
    rows = tuple(sorted({block // group for block in BLOCKS_OF_ROWS} - {0}))
    return Tiling(rows, max(1, arch.processors * _RESIDENT // kv_heads))


def block_of_rows(rows: int, group: int) -> int:
    """The smallest block that holds `rows` times the `group`."""
    return next(block for block in BLOCKS_OF_ROWS if block >= rows * group)


def fp8_dtype(arch: Arch) -> torch.dtype:
    """What 8-bit pages hold: E4M3 where the GPU converts it, else E5M2, which is the upper half of an fp16 number."""
    has_e4m3 = arch.backend == "cuda" and int(arch.name.removeprefix("sm_")) >= 89
    return torch.float8_e4m3fn if has_e4m3 else torch.float8_e5m2
