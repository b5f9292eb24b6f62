"""Attention over trees: beside FlashInfer where that is installed, and on pages in fp8 beside those in bf16."""

from __future__ import annotations

import traceback
from functools import partial

import torch
from marcot.kernels import Kernels, KVScales, select
from torch import Tensor

from ..findings import Check, Comparison
from ..flashinfer_trees import WAYS, Way, is_installed
from ..section import Task
from ..trees import PagedTree, measured_trees
from .kernel_times import SHAPES, Shape, inputs, planned

_MOST_WAIT_S = 120.0
"""For FlashInfer's compilers, which have begun when gpu-check did."""

_AGREE = 2e-2
"""Largest difference of two attentions of normal bf16 values: outputs of up to 4 are rounded to 8 bits."""


def run(task: Task) -> None:
    """Time every tree in every shape; a way that fails is noted, and not tried again."""
    device = torch.device(task.device)
    ops = select(device, torch.bfloat16)
    ways = _ways(task)
    for shape in SHAPES:
        for tree in measured_trees():
            _compare(task, ops, shape, tree, device, ways)


def _ways(task: Task) -> dict[str, Way]:
    """FlashInfer's, as far as they can be had."""
    if not is_installed():
        task.notebook.note("flashinfer is not installed: nothing to compare with but pages in fp8")
        return {}
    if task.build is None:
        return dict(WAYS)
    ready = task.build.ready(_MOST_WAIT_S)
    for way in WAYS:
        if way not in ready:
            task.notebook.note(f"{way}: its kernels do not compile, or not in time; run this section again")
    return {way: WAYS[way] for way in ready}


def _compare(
    task: Task, ops: Kernels, shape: Shape, tree: PagedTree, device: torch.device, ways: dict[str, Way]
) -> None:
    """One tree; a way that fails is taken out of `ways`."""
    q, k, v = inputs(shape, tree, device)
    (plan, leaves), scale = planned(ops, shape, tree, k), shape.head_dim**-0.5
    in_order, what = q[leaves], f"{shape.name}, {tree.name}"
    attend = partial(ops.tree_attention, in_order, k, v, plan, scale)
    seconds = task.clock.seconds(attend)
    expected = torch.empty_like(q, dtype=torch.float32)
    expected[leaves] = attend().float()
    for name, way in list(ways.items()):
        try:
            theirs = way(shape, tree, q, k, v)
            off = float((theirs().float() - expected).abs().max())
            task.notebook.add(Check(f"{what}: {name}", off, _AGREE, "rounding to bf16"))
            peer = task.clock.seconds(theirs)
        except Exception:
            task.notebook.note(f"{name} failed:\n{traceback.format_exc()}")
            del ways[name]
            continue
        task.notebook.add(Comparison("tree_attention", what, len(q), seconds, name, peer))
    if ops.fp8_dtype is not None:
        eight = task.clock.seconds(_on_fp8(ops, shape, tree, in_order, k, v, scale))
        task.notebook.add(Comparison("tree_attention, fp8", what, len(q), eight, "pages in bf16", seconds))


def _on_fp8(
    ops: Kernels, shape: Shape, tree: PagedTree, q: Tensor, k: Tensor, v: Tensor, scale: float
) -> partial[Tensor]:
    """The same with K and V in 8 bits, and a plan for them."""
    assert ops.fp8_dtype is not None
    scales = KVScales(*torch.ones(2, shape.kv_heads, device=q.device))
    k, v = k.to(ops.fp8_dtype), v.to(ops.fp8_dtype)
    return partial(ops.tree_attention, q, k, v, planned(ops, shape, tree, k).plan, scale, scales)
