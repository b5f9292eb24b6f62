"""Times of the LM head compared with the plain product by cuBLAS, which only computes the `[rows, vocab]` logits."""

from __future__ import annotations

from functools import partial

import torch
from marcot.kernels import Draw, Kernels, select

from ..findings import Comparison
from ..section import Task
from .kernel_times import SHAPES, Shape

_DTYPE = torch.bfloat16
_ROWS = (1, 8, 16, 32, 64, 128, 256)
_TOP_K = 20


def run(task: Task) -> None:
    """Time the head of each shape at all numbers of rows."""
    device = torch.device(task.device)
    ops = select(device, _DTYPE)
    for shape in SHAPES:
        _head(task, ops, shape, device)


def _head(task: Task, ops: Kernels, shape: Shape, device: torch.device) -> None:
    matrix = torch.randn(shape.vocab, shape.hidden, device=device, dtype=_DTYPE) * shape.hidden**-0.5
    weight = ops.pack_linear([matrix], _DTYPE, device)
    for rows in _ROWS:
        hidden = torch.randn(rows, shape.hidden, device=device, dtype=_DTYPE)
        keys = torch.arange(rows, device=device)
        draw = Draw(torch.ones(rows, device=device), keys, keys)
        product = task.clock.seconds(partial(torch.mm, hidden, matrix.t()))
        for op, drawn in (("lm_head_topk", None), ("lm_head_topk, drawn", draw)):
            seconds = task.clock.seconds(partial(ops.lm_head_topk, hidden, weight, _TOP_K, draw=drawn))
            what = f"{shape.name}, {rows} rows, k {_TOP_K}"
            task.notebook.add(Comparison(op, what, rows, seconds, "cuBLAS, the product", product))
