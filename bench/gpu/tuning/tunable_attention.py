"""Candidate shapes of attention: tokens per block, warps and stages, for each block of rows and head width."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import torch
from marcot.kernels import Kernels, KVScales
from marcot.kernels.triton.arch import Arch
from marcot.kernels.triton.attention.shape import BLOCKS_OF_ROWS, fp8_dtype, tiling, tuned_kind

from ..plan import engine_plan
from ..sections.kernel_times import SHAPES, Shape, inputs
from ..trees import PagedTree, fan, layered, recorded
from .tunables import Case, grid

_CANDIDATES: Final = grid(tokens=(32, 64, 128), warps=(2, 4), stages=(2, 3, 4))


def attention_cases(arch: Arch, folder: Path) -> Iterator[Case]:
    """A case for each block of rows, page dtype and model, on trees that use that block."""
    for shape in SHAPES:
        for pages in (torch.bfloat16, fp8_dtype(arch)):
            for block in BLOCKS_OF_ROWS:
                make = partial(_calls, arch, shape, pages, block)
                yield Case("tree_attention", tuned_kind(pages), block, shape.head_dim, _CANDIDATES, make)


def _trees(rows: int) -> list[PagedTree]:
    """Trees whose rows fill tiles of `rows`: a fan, a recorded search, and a long prompt with long branches."""
    return [fan(8 * rows), recorded()[2], layered((1, rows), (4000, 400))]


def _calls(
    arch: Arch, shape: Shape, pages: torch.dtype, block: int, device: torch.device
) -> Callable[[Kernels], Callable[[], object]]:
    """Make calls of attention on all trees, with as many rows per tile as fit in `block`."""
    group = shape.heads // shape.kv_heads
    takes = tiling(arch, shape.heads, shape.kv_heads)._replace(rows=(block // group,))
    scales = None
    if pages != torch.bfloat16:
        scales = KVScales(*torch.ones(2, shape.kv_heads, device=device))
    given = []
    for tree in _trees(block // group):
        q, k, v = inputs(shape, tree, device)
        k, v = k.to(pages), v.to(pages)
        plan = engine_plan(tree, takes, group, shape.head_dim, device).plan
        given.append((q, k, v, plan, shape.head_dim**-0.5, scales))
    return lambda kernels: lambda: [kernels.tree_attention(*arguments) for arguments in given]
