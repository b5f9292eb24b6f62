"""Candidate shapes of quantised linears: outputs per block, warps, stages, and blocks per processor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import torch
from marcot.kernels import Kernels
from marcot.kernels.triton.arch import Arch
from marcot.kernels.triton.linear.block_codes import FORMATS
from marcot.kernels.triton.linear.code_variants import code_name
from marcot.kernels.triton.linear.linear import linear_shape
from marcot.kernels.triton.linear.packed_linear import TritonLinear, pack
from marcot.kernels.triton.tuning import UNTUNED

from ..sections.linear_times import random_blocks
from .tunables import Case, grid

_DTYPE = torch.bfloat16
_ROWS = (8, 16, 32, 64, 128)
"""Rows per tile; calls have the same number."""

_SIZES: Final = ((37_888, 3584), (3584, 18_944))
"""Outputs and columns of the two products of a 7B model's MLP, which hold most of its weights."""

_FORMATS = ("Q4_K", "Q6_K", "Q4_1", "Q8_0")
"""The formats that 4-bit and 8-bit files consist of."""

_CANDIDATES: Final = grid(outs=(32, 64, 128), warps=(2, 4), stages=(3, 4), blocks=(4, 8, 12))


def linear_cases(arch: Arch, folder: Path) -> Iterator[Case]:
    """A case for each format and number of rows; packed weights are cached in `folder`, as packing takes seconds."""
    weights = {(format, *size): folder / f"{format}-{size[0]}-{size[1]}.pt" for format in _FORMATS for size in _SIZES}
    with ThreadPoolExecutor() as pool:
        for packed in [pool.submit(_pack, *what, path) for what, path in weights.items() if not path.is_file()]:
            packed.result()
    own = arch._replace(tuning=UNTUNED)
    for format in _FORMATS:
        kind = FORMATS[format]
        for rows in _ROWS:
            by_tiles: dict[int, list[Path]] = {}
            for outs, columns in _SIZES:
                tiles = linear_shape(own, kind, rows, outs).tiles
                by_tiles.setdefault(tiles, []).append(weights[format, outs, columns])
            for tiles, paths in by_tiles.items():
                tile = linear_shape(own, kind, rows, _SIZES[0][0]).rows
                yield Case("linear", code_name(kind), tile, tiles, _CANDIDATES, partial(_calls, paths, rows))


def _pack(format: str, outs: int, columns: int, path: Path) -> None:
    torch.save(pack([random_blocks(outs, columns, format)], _DTYPE, torch.device("cpu"), "exact"), path)


def _calls(paths: Sequence[Path], rows: int, device: torch.device) -> Callable[[Kernels], Callable[[], object]]:
    """Make calls of the product with each weight."""
    weights: list[TritonLinear] = [torch.load(path, map_location=device, weights_only=False) for path in paths]
    inputs = [torch.randn(rows, weight.in_features, device=device, dtype=_DTYPE) for weight in weights]
    return lambda kernels: lambda: list(map(kernels.linear, inputs, weights))
