"""Quantised linears beside bf16 by cuBLAS, on the largest product of a 7B's layer."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
import torch
from marcot.kernels import BlockTensor, select

from .findings import Comparison
from .kernel_times import SHAPES
from .section import Task

_DTYPE = torch.bfloat16
_ROWS = (1, 4, 16, 32, 64, 128, 256)

FORMATS: Final = {"Q4_1": 4, "Q4_K": 4, "Q8_0": 8}
"""Bits of a code by format: what 4-bit files have most of, and 8 bits."""

_BLOCK_BYTES: Final = {"Q4_1": (32, 2, 2, 16), "Q4_K": (256, 2, 2, 140), "Q8_0": (32, 2, 0, 32)}
"""Columns of a block, then bytes of its scale, of its minimum, and of everything else, in this order."""


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
    """A matrix in blocks of random codes with the same scale throughout; no package is needed to make it."""
    in_block, *parts = _BLOCK_BYTES[format]
    generator = np.random.default_rng(0)
    data = generator.integers(0, 256, (rows * columns // in_block, sum(parts)), dtype=np.uint8)
    scales = np.frombuffer(np.array([columns**-0.5 / 16, -(columns**-0.5)], np.float16).tobytes(), np.uint8)
    data[:, : parts[0] + parts[1]] = scales[: parts[0] + parts[1]]
    return BlockTensor(torch.from_numpy(data.reshape(rows, -1)), format, columns)
