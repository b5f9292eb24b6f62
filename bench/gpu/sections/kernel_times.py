"""Times of the row-wise kernels and of attention over a prompt, compared with the card's limits."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from marcot.kernels import Kernels, Plan, WorkItem, select
from marcot.model import PAGE_SIZE
from torch import Tensor

from ..findings import KernelTiming
from ..plan import EnginePlan, engine_plan
from ..section import Task
from ..trees import PagedTree

_DTYPE = torch.bfloat16
_ROWS = (1, 8, 32, 256)
_PROMPT_ROWS = 512


class Shape(NamedTuple):
    """The sizes of a model that matter to kernels.

    Attributes:
        name: Name of the model.
        hidden: Width of the residual stream.
        heads: Number of query heads.
        kv_heads: Number of KV heads.
        head_dim: Width of a head.
        width: Width of the MLP.
        vocab: Number of rows of the LM head.
    """

    name: str
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    vocab: int


SHAPES = (Shape("0.5B", 896, 14, 2, 64, 4864, 151_936), Shape("7B", 3584, 28, 4, 128, 18_944, 152_064))


class Case(NamedTuple):
    """A kernel with its arguments.

    Attributes:
        op: Name of the op.
        shape: Shape of its inputs, for the table.
        run: Calls the kernel.
        moved: Minimum number of bytes that it must read and write.
        operations: Number of floating-point operations.
    """

    op: str
    shape: str
    run: Callable[[], object]
    moved: float
    operations: float


def run(task: Task) -> None:
    """Time every case; a failure is noted, and raised as an error after all the others are timed."""
    device = torch.device(task.device)
    ops = select(device, _DTYPE)
    failed = 0
    for shape in SHAPES:
        bench = _Bench(ops, shape, device)
        for make in (bench.rowwise, bench.attention):
            try:
                for case in make():
                    seconds = task.clock.seconds(case.run)
                    timing = KernelTiming(case.op, f"{shape.name}, {case.shape}", seconds, case.moved, case.operations)
                    task.notebook.add(timing)
            except Exception:
                failed += 1
                task.notebook.note(f"{shape.name}: {traceback.format_exc()}")
    if failed:
        raise RuntimeError(f"{failed} kinds of kernels failed, see the notes")


class _Bench:
    """The cases of one model."""

    def __init__(self, ops: Kernels, shape: Shape, device: torch.device) -> None:
        self._ops = ops
        self._shape = shape
        self._device = device

    def rowwise(self) -> Iterator[Case]:
        """Cases of the ops that treat each row separately."""
        ops, shape = self._ops, self._shape
        weight = self._random(shape.hidden)
        for rows in _ROWS:
            x, residual = self._random(rows, shape.hidden), self._random(rows, shape.hidden)
            moved = 4 * x.nbytes + weight.nbytes
            yield Case("rms_norm", f"{rows} rows", partial(ops.rms_norm, x, weight, 1e-6, residual), moved, 0)
        for rows in _ROWS:
            gate_up = self._random(rows, 2 * shape.width)
            yield Case("silu_mul", f"{rows} rows", partial(ops.silu_mul, gate_up), 1.5 * gate_up.nbytes, 0)
        for rows in _ROWS:
            yield self._rope_store(rows)

    def _rope_store(self, rows: int) -> Case:
        shape, ops = self._shape, self._ops
        qkv = self._random(rows, (shape.heads + 2 * shape.kv_heads) * shape.head_dim)
        bias = self._random(qkv.shape[1])
        angles = torch.rand(rows, shape.head_dim // 2, device=self._device)
        slots = torch.arange(rows, device=self._device)
        k, v = (self._random(-(-rows // PAGE_SIZE), shape.kv_heads, PAGE_SIZE, shape.head_dim) for _ in range(2))
        cos, sin = angles.cos(), angles.sin()
        moved = 2 * qkv.nbytes + bias.nbytes + cos.nbytes + sin.nbytes + slots.nbytes
        return Case("rope_store", f"{rows} rows", lambda: ops.rope_store(qkv, bias, cos, sin, slots, k, v), moved, 0)

    def attention(self) -> Iterator[Case]:
        """Causal attention over a prompt."""
        rows, shape, ops = _PROMPT_ROWS, self._shape, self._ops
        prompt = PagedTree(f"prompt of {rows} tokens", [None], [rows])
        _, k, v = inputs(shape, prompt, self._device)
        plan = _cut(ops, shape, [WorkItem(0, 0, 0, rows, 0, rows)], list(range(rows)), self._device)
        q, scale = self._random(rows, shape.heads, shape.head_dim), shape.head_dim**-0.5
        moved = k.nbytes + v.nbytes + 2 * q.nbytes
        operations = 2 * shape.heads * shape.head_dim * rows * (rows + 1)
        attend = lambda: ops.tree_attention(q, k, v, plan, scale)  # noqa: E731
        yield Case("tree_attention", prompt.name, attend, moved, operations)

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(shape, device=self._device, dtype=_DTYPE)


def inputs(shape: Shape, tree: PagedTree, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Random queries `[leaves, heads, head_dim]`, and K and V pages of the whole tree."""
    pages = (tree.pages, shape.kv_heads, PAGE_SIZE, shape.head_dim)
    sizes = ((len(tree.chains), shape.heads, shape.head_dim), pages, pages)
    q, k, v = (torch.randn(size, device=device, dtype=_DTYPE) for size in sizes)
    return q, k, v


def planned(ops: Kernels, shape: Shape, tree: PagedTree, k: Tensor) -> EnginePlan:
    """The engine's plan for the queries of `tree`, for the kernels `ops`, on the device of `k`."""
    tiling, group = ops.tiling(shape.heads, shape.kv_heads), shape.heads // shape.kv_heads
    return engine_plan(tree, tiling, group, shape.head_dim, k.device)


def _cut(ops: Kernels, shape: Shape, items: list[WorkItem], positions: list[int], device: torch.device) -> Plan:
    """A plan with pages in order; it is cut into tiles in advance, so that only kernels are timed."""
    from marcot.kernels.triton.attention.tiles import cut

    pages = max(item.first_page + -(-item.length // PAGE_SIZE) for item in items)
    columns = (torch.tensor(column, dtype=torch.int32, device=device) for column in (positions, items, range(pages)))
    at, work, page_table = columns
    plan = Plan(at, work, page_table)
    tiling = ops.tiling(shape.heads, shape.kv_heads)
    if tiling is None:
        return plan
    return plan._replace(tiles=cut(plan, PAGE_SIZE, shape.heads // shape.kv_heads, tiling))
