"""Candidate shapes of the LM head: columns per iteration, warps, stages, and blocks per processor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import torch
from marcot.kernels import Draw, Kernels
from marcot.kernels.triton.arch import Arch
from marcot.kernels.triton.lm_head.shape import DENSE, TILE, blocks_of_rows, tile_shape, tuned_kind
from marcot.kernels.triton.tuning import UNTUNED
from torch import Tensor

from ..sections.kernel_times import SHAPES
from .tunables import Case, grid

_DTYPE = torch.bfloat16
_TOP_K = 20
_BLOCKS = 2
"""Blocks of rows in a call with the largest tile, which all larger numbers of rows use too."""

_CANDIDATES: Final = grid(columns=(64, 128), warps=(4, 8), stages=(2, 3, 4, 5), resident=(1, 2, 3))


def head_cases(arch: Arch, folder: Path) -> Iterator[Case]:
    """A case for each tile and binary, on the vocabularies of two models, with and without a draw if both share it."""
    own, tiles = arch._replace(tuning=UNTUNED), blocks_of_rows(arch, DENSE, _DTYPE)
    for rows in tiles:
        draws: dict[str, list[bool]] = {}
        for has_draw in (False, True):
            draws.setdefault(tuned_kind(tile_shape(own, DENSE, rows, _DTYPE, has_draw)), []).append(has_draw)
        for kind, with_draw in draws.items():
            make = partial(_calls, rows * (_BLOCKS if rows == tiles[-1] else 1), with_draw)
            yield Case("lm_head_topk", kind, rows, TILE, _CANDIDATES, make)


def _calls(rows: int, with_draw: Sequence[bool], device: torch.device) -> Callable[[Kernels], Callable[[], object]]:
    """Make calls of the LM head on each vocabulary, with or without a draw."""
    sizes = [(shape.vocab, shape.hidden) for shape in SHAPES]
    matrices = [torch.randn(size, device=device, dtype=_DTYPE) * size[1] ** -0.5 for size in sizes]
    inputs = [torch.randn(rows, hidden, device=device, dtype=_DTYPE) for _, hidden in sizes]
    keys = torch.arange(rows, device=device)
    draw = Draw(torch.ones(rows, device=device), keys, keys)

    def calls(kernels: Kernels) -> Callable[[], object]:
        weights = [kernels.pack_linear([matrix], _DTYPE, device) for matrix in matrices]
        given = list(zip(inputs, weights, strict=True))

        def call() -> list[Tensor | None]:
            heads = [
                kernels.lm_head_topk(hidden, weight, _TOP_K, draw=draw if drawn else None)
                for drawn in with_draw
                for hidden, weight in given
            ]
            return [part for head in heads for part in head]

        return call

    return calls
