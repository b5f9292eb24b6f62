"""Times of attention over trees, compared with FlashInfer if it is installed, and on fp8 pages compared with bf16."""

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
"""Maximum wait for FlashInfer's compilers, which started together with gpu-check."""

_AGREE = 2e-2
"""Largest allowed difference between two attentions on normally distributed values: outputs reach 4, and bf16 rounds
them to 8 significant bits."""


def run(task: Task) -> None:
    """Time every tree with every model shape; a way that fails is noted and not tried again."""
    device = torch.device(task.device)
    ops = select(device, torch.bfloat16)
    ways = _ways(task)
    for shape in SHAPES:
        for tree in measured_trees():
            _compare(task, ops, shape, tree, device, ways)


def _ways(task: Task) -> dict[str, Way]:
    """FlashInfer's ways that are available."""
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
    """Time attention over one tree; a way that fails is removed from `ways`."""
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
    """The attention call with K and V converted to fp8, and a plan for them."""
    assert ops.fp8_dtype is not None
    scales = KVScales(*torch.ones(2, shape.kv_heads, device=q.device))
    k, v = k.to(ops.fp8_dtype), v.to(ops.fp8_dtype)
    return partial(ops.tree_attention, q, k, v, planned(ops, shape, tree, k).plan, scale, scales)
