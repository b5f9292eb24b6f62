"""Times of quantised linears compared with bf16 by cuBLAS, for the largest product of a 7B model's layer."""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple

import numpy as np
import torch
from marcot.kernels import BlockTensor, select

from ..findings import Comparison
from ..section import Task
from .kernel_times import SHAPES

_DTYPE = torch.bfloat16
_ROWS = (1, 4, 16, 32, 64, 128, 256)

FORMATS: Final = {"Q4_1": 4, "Q4_K": 4, "Q8_0": 8}
"""Bits per code by format: the formats that 4-bit files mostly consist of, and one with 8 bits."""


class _Block(NamedTuple):
    """Layout of a block: where its fp16 numbers are. All other bytes may be random.

    Attributes:
        columns: Number of values in a block.
        bytes: Size of a block in bytes.
        scale: Byte offset of the scale.
        minimum: Byte offset of the minimum, or None.
    """

    columns: int
    bytes: int
    scale: int
    minimum: int | None


_BLOCKS: Final = {
    "Q4_1": _Block(32, 20, 0, 2),
    "Q4_K": _Block(256, 144, 0, 2),
    "Q6_K": _Block(256, 210, 208, None),
    "Q8_0": _Block(32, 34, 0, None),
}


def run(task: Task) -> None:
    """Time every format at all numbers of rows."""
    device = torch.device(task.device)
    ops, shape = select(device, _DTYPE), SHAPES[-1]
    outs, columns = 2 * shape.width, shape.hidden
    dense = torch.randn(outs, columns, device=device, dtype=_DTYPE) * columns**-0.5
    inputs = {rows: torch.randn(rows, columns, device=device, dtype=_DTYPE) for rows in _ROWS}
    product = {rows: task.clock.seconds(partial(torch.mm, x, dense.t())) for rows, x in inputs.items()}
    for format, bits in FORMATS.items():
        weight = ops.pack_linear([random_blocks(outs, columns, format)], _DTYPE, device)
        for rows, x in inputs.items():
            seconds = task.clock.seconds(partial(ops.linear, x, weight))
            what = f"{format}, {outs} x {columns}, {rows} rows"
            task.notebook.add(Comparison(f"linear, {bits} bits", what, rows, seconds, "bf16 by cuBLAS", product[rows]))


def random_blocks(rows: int, columns: int, format: str) -> BlockTensor:
    """A quantised matrix of random codes with one scale for all blocks; making it needs no extra package."""
    block, size = _BLOCKS[format], columns**-0.5
    data = np.random.default_rng(0).integers(0, 256, (rows * columns // block.columns, block.bytes), dtype=np.uint8)
    for place, value in ((block.scale, size / 16), (block.minimum, -size)):
        if place is not None:
            data[:, place : place + 2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)
    return BlockTensor(torch.from_numpy(data.reshape(rows, -1)), format, columns)
