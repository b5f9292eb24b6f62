"""Launch shapes of `tree_attention`: how much a thread block processes at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

import torch

from ...errors import KernelArgumentError
from ...plan import Tiling
from ..arch import Arch

BLOCKS_OF_ROWS = (16, 32, 64, 128)
"""(Row, head) pairs per tile. Tensor cores need at least 16; at 128 the products take about as long as the reads."""

_RESIDENT = 2
"""Minimum number of thread blocks that share a processor: one computes while the other waits for its first tokens."""


class AttentionShape(NamedTuple):
    """The launch shape that the kernel is compiled for.

    Attributes:
        tokens: Tokens of a block, which one loop iteration processes.
        warps: Warps of a thread block.
        stages: Depth of the software pipeline: while one block of tokens is processed, `stages - 1` more are loaded or
            being loaded.
    """

    tokens: int
    warps: int
    stages: int


_Shapes = Mapping[int, AttentionShape]


def _shapes(*shapes: tuple[int, int, int]) -> _Shapes:
    """One shape for each of `BLOCKS_OF_ROWS`."""
    return {block: AttentionShape(*shape) for block, shape in zip(BLOCKS_OF_ROWS, shapes, strict=True)}


# Chosen from the compiled binaries (`make kernel-report`) by these rules, in this order: nothing spills; on sm_80 and
# sm_90 a processor holds two thread blocks, however many rows they have; blocks of tokens are large, and one more is
# being loaded. 64 tokens of K and V for a head of 128 are 32 KB; a processor of an A100 or an H100 has 10 to 20 KB in
# flight when it reads at full memory bandwidth. The queries take shared memory as well; scores and sums take
# registers: with 128 rows, 255 registers per thread leave room for 32 tokens. With eight warps a thread needs half as
# many, but then only one thread block fits.
_HEADS_OF_128: Final[Mapping[str, _Shapes]] = {
    "sm_80": _shapes((64, 4, 3), (64, 4, 3), (32, 4, 4), (32, 4, 3)),
    "sm_86": _shapes((32, 4, 3), (32, 4, 3), (32, 4, 2), (64, 8, 2)),  # 99 KB of shared memory instead of 163
    "sm_90": _shapes((128, 4, 2), (64, 4, 3), (64, 4, 3), (32, 4, 3)),
    "sm_100": _shapes((64, 4, 3), (64, 4, 3), (64, 4, 3), (64, 8, 2)),
    "cdna": _shapes((32, 4, 2), (32, 4, 2), (32, 4, 2), (32, 4, 2)),  # 64 KB; the stage being loaded is in registers
    "rdna": _shapes((32, 4, 2), (16, 4, 2), (16, 16, 1), (32, 16, 1)),  # operands are in registers twice
}
_HEADS_OF_64: Final[Mapping[str, _Shapes]] = {
    "nvidia": _shapes((64, 4, 3), (64, 4, 3), (64, 4, 3), (64, 4, 3)),
    "sm_90": _shapes((128, 4, 2), (128, 4, 2), (128, 4, 2), (64, 4, 3)),
    "sm_100": _shapes((128, 4, 3), (64, 4, 3), (64, 4, 3), (64, 4, 3)),  # 64 tokens, 16 rows, fp8: spills for no reason
    "cdna": _shapes((64, 4, 2), (64, 4, 2), (64, 4, 2), (64, 4, 2)),
    "rdna": _shapes((32, 4, 2), (32, 4, 2), (32, 8, 2), (32, 8, 2)),
}
_EIGHT_BITS_OF_64: Final[Mapping[str, _Shapes]] = {
    "sm_90": _shapes((128, 4, 2), (128, 4, 2), (64, 4, 1), (64, 4, 1)),
}
_EIGHT_BITS_OF_128: Final[Mapping[str, _Shapes]] = {
    "sm_90": _shapes((128, 4, 2), (64, 4, 3), (64, 4, 1), (32, 4, 2)),
    "rdna": _shapes((16, 4, 2), (16, 4, 2), (16, 16, 1), (32, 16, 2)),  # with those of 16-bit pages, Triton 3.6 spills
}
"""Shapes that differ for 8-bit pages. Those with one stage load K and V ahead into registers."""

_WIDER: Final = AttentionShape(16, 8, 2)
"""For fp32, which tensor cores would round, and for wider heads, which no model here has; not tuned for speed."""


@cache
def attention_shape(arch: Arch, block_m: int, block_d: int, dtype: torch.dtype, pages: torch.dtype) -> AttentionShape:
    """The shape for `block_m` (row, head) pairs and heads padded to `block_d`.

    `dtype` is that of the queries; `pages`, that of K and V, may be narrower.
    """
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
    """The name in tuning tables for attention on pages of this dtype; all 16-bit dtypes share one."""
    return "16 bits" if pages.itemsize == 2 else "16 bits, 8-bit pages"


def _family(arch: Arch) -> str:
    """The key of `arch` in the tables: the nearest architecture whose binaries were examined."""
    if arch.backend == "hip":
        return "cdna" if arch.warp == 64 else "rdna"
    capability = int(arch.name.removeprefix("sm_"))
    if capability in (80, 90):
        return arch.name
    return "sm_100" if 100 <= capability < 120 else "sm_86"


def tiling(arch: Arch, heads: int, kv_heads: int) -> Tiling:
    """See `Kernels.tiling`.

    Raises:
        KernelArgumentError: A tile cannot hold the query heads of a KV head.
    """
    group, most = heads // kv_heads, BLOCKS_OF_ROWS[-1]
    if group > most:
        raise KernelArgumentError(f"tree_attention: {group} query heads per KV head; the maximum is {most}")
    rows = tuple(sorted({block // group for block in BLOCKS_OF_ROWS} - {0}))
    return Tiling(rows, max(1, arch.processors * _RESIDENT // kv_heads))


def block_of_rows(rows: int, group: int) -> int:
    """The smallest block that holds `rows` rows of `group` query heads each."""
    return next(block for block in BLOCKS_OF_ROWS if block >= rows * group)


def fp8_dtype(arch: Arch) -> torch.dtype:
    """The dtype of 8-bit pages: E4M3 if the GPU can convert it, else E5M2, which is the upper half of an fp16."""
    has_e4m3 = arch.backend == "cuda" and int(arch.name.removeprefix("sm_")) >= 89
    return torch.float8_e4m3fn if has_e4m3 else torch.float8_e5m2
