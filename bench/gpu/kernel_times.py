"""Every kernel's time at the shapes of two real models, beside what the card can copy and multiply."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from marcot.kernels import BlockTensor, Draw, Kernels, KVScales, Plan, WorkItem, select
from marcot.model import PAGE_SIZE
from torch import Tensor

from .card import median_seconds
from .plan import EnginePlan, engine_plan
from .report import KernelTiming
from .section import Task
from .trees import PagedTree, fan, recorded

_DTYPE = torch.bfloat16
_ROWS = (1, 8, 32, 256)
_FEW_ROWS = (1, 8, 32)
"""For which quantised linears are made."""

_PROMPT_ROWS = 512
_TOP_K = 20


class Shape(NamedTuple):
    """The parts of a model that kernels see.

    Attributes:
        name: Of the model.
        hidden: Width of the residual stream.
        heads: Query heads.
        kv_heads: KV heads.
        head_dim: Width of a head.
        width: Of the MLP.
        vocab: Rows of the LM head.
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
        shape: What it is given, for the table.
        run: Calls it.
        moved: Bytes that it cannot avoid to read and write.
        operations: Floating-point operations.
    """

    op: str
    shape: str
    run: Callable[[], object]
    moved: float
    operations: float


def run(task: Task) -> None:
    """Time every case; one that fails is noted, and an error once all others are timed."""
    device = torch.device(task.device)
    ops = select(device, _DTYPE)
    failed = 0
    for shape in SHAPES:
        bench = _Bench(ops, shape, device)
        for make in (bench.rowwise, bench.attention, bench.head, bench.linears):
            try:
                for case in make():
                    seconds = median_seconds(case.run)
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
        """What is done to each row by itself."""
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
        """A step of branches behind one prefix, steps of recorded searches, and a prompt."""
        for tree in (*map(fan, _ROWS), *recorded()):
            q, k, v = inputs(self._shape, tree, self._device)
            plan = planned(self._ops, self._shape, tree, k).plan
            yield self._attention(tree.name, q, k, v, plan, tree.seen)
        yield self._eight_bits(fan(_ROWS[-1]))
        rows = _PROMPT_ROWS
        prompt = PagedTree(f"prompt of {rows} tokens", [None], [rows])
        _, k, v = inputs(self._shape, prompt, self._device)
        plan = _cut(self._ops, self._shape, [WorkItem(0, 0, 0, rows, 0, rows)], list(range(rows)), self._device)
        q = self._random(rows, self._shape.heads, self._shape.head_dim)
        yield self._attention(prompt.name, q, k, v, plan, rows * (rows + 1) // 2)

    def _eight_bits(self, tree: PagedTree) -> Case:
        """A step with K and V in fp8."""
        from marcot.kernels.triton.arch import arch_of
        from marcot.kernels.triton.attention_shape import fp8_dtype

        dtype = fp8_dtype(arch_of(self._device))
        q, k, v = inputs(self._shape, tree, self._device)
        scales = KVScales(*torch.ones(2, self._shape.kv_heads, device=self._device))
        k, v = k.to(dtype), v.to(dtype)
        plan = planned(self._ops, self._shape, tree, k).plan
        return self._attention(f"{tree.name}, fp8", q, k, v, plan, tree.seen, scales)

    def _attention(
        self, name: str, q: Tensor, k: Tensor, v: Tensor, plan: Plan, seen: int, scales: KVScales | None = None
    ) -> Case:
        """One call, in which queries see `seen` tokens altogether; all of K and V is read."""
        ops, shape = self._ops, self._shape
        scale = shape.head_dim**-0.5
        moved = k.nbytes + v.nbytes + 2 * q.nbytes
        operations = 4 * shape.heads * shape.head_dim * seen
        return Case("tree_attention", name, lambda: ops.tree_attention(q, k, v, plan, scale, scales), moved, operations)

    def head(self) -> Iterator[Case]:
        """The LM head with its draw."""
        ops, shape = self._ops, self._shape
        weight = ops.pack_linear([self._random(shape.vocab, shape.hidden)], _DTYPE, self._device)
        for rows in _ROWS:
            hidden = self._random(rows, shape.hidden)
            keys = torch.arange(rows, device=self._device)
            draw = Draw(torch.ones(rows, device=self._device), keys, keys)
            moved = weight.nbytes + hidden.nbytes + rows * (12 * _TOP_K + 24)
            yield Case(
                "lm_head_topk",
                f"{rows} rows, k {_TOP_K}",
                partial(ops.lm_head_topk, hidden, weight, _TOP_K, draw=draw),
                moved,
                2 * rows * shape.vocab * shape.hidden,
            )

    def linears(self) -> Iterator[Case]:
        """The largest product of a layer, dense by cuBLAS and quantised."""
        ops, shape = self._ops, self._shape
        out = 2 * shape.width
        for format in (None, "Q8_0", "Q4_1"):
            matrix = self._random(out, shape.hidden) if format is None else _blocks(out, shape.hidden, format)
            weight = ops.pack_linear([matrix], _DTYPE, self._device)
            for rows in _ROWS if format is None else _FEW_ROWS:
                x = self._random(rows, shape.hidden)
                moved = weight.nbytes + x.nbytes + rows * out * x.itemsize
                name = f"{rows} rows, {format or 'bf16'}"
                run = lambda x=x, weight=weight: ops.linear(x, weight)  # noqa: E731
                yield Case("linear", name, run, moved, 2 * rows * out * shape.hidden)

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(shape, device=self._device, dtype=_DTYPE)


def inputs(shape: Shape, tree: PagedTree, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Random queries `[leaves, heads, head_dim]`, and K and V pages of the whole tree."""
    pages = (tree.pages, shape.kv_heads, PAGE_SIZE, shape.head_dim)
    sizes = ((len(tree.chains), shape.heads, shape.head_dim), pages, pages)
    q, k, v = (torch.randn(size, device=device, dtype=_DTYPE) for size in sizes)
    return q, k, v


def planned(ops: Kernels, shape: Shape, tree: PagedTree, k: Tensor) -> EnginePlan:
    """What the queries of `tree` read, as the engine plans it for `ops` and a cache like `k`."""
    tiling, group = ops.tiling(shape.heads, shape.kv_heads), shape.heads // shape.kv_heads
    return engine_plan(tree, tiling, group, shape.head_dim, k.itemsize, k.device)


def _cut(ops: Kernels, shape: Shape, items: list[WorkItem], positions: list[int], device: torch.device) -> Plan:
    """A plan on pages that lie as they are numbered; it is cut into tiles already, so that only kernels are timed."""
    from marcot.kernels.triton.attention_tiles import cut

    pages = max(item.first_page + -(-item.length // PAGE_SIZE) for item in items)
    columns = (torch.tensor(column, dtype=torch.int32, device=device) for column in (positions, items, range(pages)))
    at, work, page_table = columns
    plan = Plan(at, work, page_table)
    tiling = ops.tiling(shape.heads, shape.kv_heads)
    if tiling is None:
        return plan
    return plan._replace(tiles=cut(plan, PAGE_SIZE, shape.heads // shape.kv_heads, tiling))


def _blocks(rows: int, columns: int, format: str) -> BlockTensor:
    """A quantised matrix that repeats its first rows: rounding all of them would take longer than the benchmark."""
    few = BlockTensor.quantize(torch.randn(256, columns), format)
    return BlockTensor(few.data.repeat(-(-rows // 256), 1)[:rows].contiguous(), format, columns)
