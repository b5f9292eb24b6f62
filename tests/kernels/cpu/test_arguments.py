"""Inconsistent calls of the CPU kernels: each is a typed error, and no memory is accessed out of bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import support.kernels.sampling_cases as cases
import torch
from marcot.kernels import BlockTensor, Draw, FusedLayers, HeadNorms, Kernels, KVScales, PackedLinear
from marcot.kernels.errors import KernelArgumentError
from support.checkpoints.stored_weights import random_weight
from support.kernels import kernel_sets
from support.kernels.layer_stacks import CPU, EPS, MODELS, Step, step
from torch import Tensor

MODEL = MODELS["dense"]
HEADS = MODEL.kv_heads * MODEL.group
VOCAB = 37


@pytest.fixture(scope="module", params=[name for name in kernel_sets.COMPILED if name in ("cpu", "neon", "sanitized")])
def ops(request: pytest.FixtureRequest) -> Kernels:
    return kernel_sets.kernel_set(request.param, request.config.cache.mkdir("kernels"))


class Good:
    """Valid arguments of every call."""

    def __init__(self, ops: Kernels) -> None:
        self.ops = ops
        self.step = step(ops, MODEL, 2)
        self.layers = [MODEL.layer(ops, "exact", seed) for seed in range(2)]
        random = torch.Generator().manual_seed(1)
        self.weight = ops.pack_linear([torch.randn(VOCAB, MODEL.hidden, generator=random)], torch.float32, CPU)
        self.x = self.step.x
        self.rows = len(self.x)
        self.qkv = torch.randn(self.rows, (HEADS + 2 * MODEL.kv_heads) * MODEL.head_dim, generator=random)
        self.q = torch.randn(self.rows, HEADS, MODEL.head_dim, generator=random)
        self.k_pages, self.v_pages = self.step.k_cache[0], self.step.v_cache[0]
        self.draw = Draw(torch.ones(self.rows), torch.zeros(self.rows).long(), torch.zeros(self.rows).long())

    def store(self, **other: Any) -> object:
        names = ("qkv", "k_pages", "v_pages")
        mine = {name: getattr(self, name) for name in names} | {"bias": None}
        rotations = {"cos": self.step.cos[0], "sin": self.step.sin[0], "slots": self.step.slots}
        return self.ops.rope_store(**(mine | rotations | other))

    def attend(self, **other: Any) -> object:
        mine = {name: getattr(self, name) for name in ("q", "k_pages", "v_pages")}
        return self.ops.tree_attention(**(mine | {"plan": self.step.plan, "scale": 0.3} | other))

    def planned(self, **tables: Tensor) -> object:
        return self.attend(plan=self.step.plan._replace(**tables))

    def run(self, **other: Any) -> object:
        return self.fused()(*self.step._replace(**other))

    def fused(self, **other: Any) -> FusedLayers:
        fused = self.ops.fuse([self.layers[0], self.layers[1]._replace(**other)], EPS, MODEL.head_dim)
        assert fused is not None
        return fused

    def head(self, hidden: Tensor | None = None, k: int = 5, targets: Any = None, draw: Any = None) -> object:
        return self.ops.lm_head_topk(self.x if hidden is None else hidden, self.weight, k, targets, draw)

    def sample(self, candidates: int = 5, head: Any = None, **other: Tensor) -> object:
        chosen_from = cases.head(self.rows, candidates, 0, 1.0)._replace(**head or {})
        return self.ops.sample(chosen_from, cases.params(self.rows, 0)._replace(**other))

    def advance(self, candidates: int = 5, **other: Tensor) -> object:
        state = cases.round_state(self.rows, 5, 3)._replace(**other)
        params = cases.params(self.rows, 0)._replace(position=state.draw_position)
        self.ops.advance(state, cases.head(self.rows, candidates, 0, 1.0), params)
        return state

    def pack(self, *parts: Any, dtype: torch.dtype = torch.float32, device: torch.device = CPU) -> PackedLinear:
        return self.ops.pack_linear(parts, dtype, device)


def set_at(table: Tensor, place: Any, value: int) -> Tensor:
    changed = table.clone()
    changed[place] = value
    return changed


def item(column: int, value: int) -> Callable[[Good], object]:
    return lambda good: good.planned(items=set_at(good.step.plan.items, (-1, column), value))


def blocks(rows: int, width: int, columns: int, format: str = "Q8_0") -> BlockTensor:
    return BlockTensor(torch.zeros(rows, width, dtype=torch.uint8), format, columns)


BAD: dict[str, Callable[[Good], object]] = {
    "linear: columns": lambda good: good.ops.linear(good.x[:, 1:], good.weight),
    "linear: dtype": lambda good: good.ops.linear(good.x.double(), good.weight),
    "linear: one dimension": lambda good: good.ops.linear(good.x[0], good.weight),
    "linear: no weight": lambda good: good.ops.linear(good.x, good.x),  # type: ignore[arg-type]
    "linear: no tensor": lambda good: good.ops.linear([[1.0] * MODEL.hidden], good.weight),  # type: ignore[arg-type]
    "linear: elsewhere": lambda good: good.ops.linear(good.x.to("meta"), good.weight),
    "embed: dtype": lambda good: good.ops.embed(torch.zeros(3, dtype=torch.int32), good.weight),
    "embed: two dimensions": lambda good: good.ops.embed(torch.zeros(3, 1).long(), good.weight),
    "embed: negative": lambda good: good.ops.embed(torch.tensor([0, -1]), good.weight),
    "embed: beyond": lambda good: good.ops.embed(torch.tensor([0, VOCAB]), good.weight),
    "rms_norm: weight": lambda good: good.ops.rms_norm(good.x, torch.ones(MODEL.hidden - 1), EPS, None),
    "rms_norm: weight's dtype": lambda good: good.ops.rms_norm(good.x, torch.ones(MODEL.hidden).half(), EPS, None),
    "rms_norm: residual": lambda good: good.ops.rms_norm(good.x, torch.ones(MODEL.hidden), EPS, good.x[1:]),
    "rms_norm: one dimension": lambda good: good.ops.rms_norm(good.x[0], torch.ones(MODEL.hidden), EPS, None),
    "silu_mul: odd": lambda good: good.ops.silu_mul(torch.zeros(2, 7)),
    "silu_mul: dtype": lambda good: good.ops.silu_mul(torch.zeros(2, 8).double()),
    "rope_store: qkv's width": lambda good: good.store(qkv=good.qkv[:, 8:]),
    "rope_store: qkv's heads": lambda good: good.store(qkv=good.qkv[:, : 4 * MODEL.head_dim]),
    "rope_store: bias": lambda good: good.store(bias=torch.zeros(good.qkv.shape[1] - 1)),
    "rope_store: cos": lambda good: good.store(cos=good.step.cos[0, :, 1:]),
    "rope_store: sin": lambda good: good.store(sin=good.step.sin[0, 1:]),
    "rope_store: slots": lambda good: good.store(slots=good.step.slots[1:]),
    "rope_store: slots' dtype": lambda good: good.store(slots=good.step.slots.int()),
    "rope_store: a slot beyond": lambda good: good.store(slots=set_at(good.step.slots, 1, 12 * 16)),
    "rope_store: a negative slot": lambda good: good.store(slots=set_at(good.step.slots, 1, -2)),
    "rope_store: pages with gaps": lambda good: good.store(k_pages=good.k_pages[:, :, ::2], v_pages=good.v_pages),
    "rope_store: pages transposed": lambda good: good.store(k_pages=good.k_pages.transpose(0, 1)),
    "rope_store: fewer pages of V": lambda good: good.store(v_pages=good.v_pages[1:]),
    "rope_store: pages' dtype": lambda good: good.store(k_pages=good.k_pages.half(), v_pages=good.v_pages.half()),
    "rope_store: norms": lambda good: good.store(norms=HeadNorms(good.x[0], good.x[0], EPS)),
    "rope_store: scales": lambda good: good.store(scales=KVScales(torch.ones(2), torch.ones(2))),
    "tree_attention: heads": lambda good: good.attend(q=good.q[:, 1:]),
    "tree_attention: head_dim": lambda good: good.attend(q=good.q[:, :, 1:]),
    "tree_attention: rows": lambda good: good.attend(q=good.q[1:]),
    "tree_attention: dtype": lambda good: good.attend(q=good.q.bfloat16()),
    "tree_attention: page size": lambda good: good.attend(
        k_pages=good.k_pages[:, :, :8], v_pages=good.v_pages[:, :, :8]
    ),
    "tree_attention: fewer pages of V": lambda good: good.attend(v_pages=good.v_pages[:-1]),
    "tree_attention: no pages": lambda good: good.attend(k_pages=good.k_pages[:0], v_pages=good.v_pages[:0]),
    "plan: positions": lambda good: good.planned(positions=good.step.plan.positions[1:]),
    "plan: positions' dtype": lambda good: good.planned(positions=good.step.plan.positions.long()),
    "plan: a negative position": lambda good: good.planned(positions=set_at(good.step.plan.positions, 0, -1)),
    "plan: a position beyond": lambda good: good.planned(positions=set_at(good.step.plan.positions, 0, 2**31 - 1)),
    "plan: items' columns": lambda good: good.planned(items=good.step.plan.items[:, 1:]),
    "plan: items' dtype": lambda good: good.planned(items=good.step.plan.items.long()),
    "plan: a page beyond": lambda good: good.planned(pages=set_at(good.step.plan.pages, 0, 12)),
    "plan: a negative page": lambda good: good.planned(pages=set_at(good.step.plan.pages, -1, -1)),
    "plan: fewer pages": lambda good: good.planned(pages=good.step.plan.pages[:-1]),
    "item: first_page beyond": item(0, 1000),
    "item: first_page negative": item(0, -1),
    "item: first_slot beyond": item(1, 2**31 - 1),
    "item: first_slot negative": item(1, -1),
    "item: position negative": item(2, -1),
    "item: too long": item(3, 2**31 - 1),
    "item: no length": item(3, 0),
    "item: first_row negative": item(4, -1),
    "item: first_row beyond": item(4, 2**31 - 1),
    "item: rows beyond": item(5, 2**31 - 1),
    "item: no rows": item(5, 0),
    "head: columns": lambda good: good.head(good.x[:, 1:]),
    "head: dtype": lambda good: good.head(good.x.half()),
    "head: k of 0": lambda good: good.head(k=0),
    "head: k beyond the vocabulary": lambda good: good.head(k=VOCAB + 1),
    "head: k beyond what is kept": lambda good: good.head(k=65),
    "head: targets": lambda good: good.head(targets=torch.zeros(good.rows - 1).long()),
    "head: targets' dtype": lambda good: good.head(targets=torch.zeros(good.rows)),
    "head: a target beyond": lambda good: good.head(targets=torch.full((good.rows,), VOCAB)),
    "head: a negative target": lambda good: good.head(targets=torch.full((good.rows,), -1)),
    "head: temperatures": lambda good: good.head(draw=good.draw._replace(temperature=torch.ones(1))),
    "head: keys": lambda good: good.head(draw=good.draw._replace(key=good.draw.key[1:])),
    "sample: too many candidates": lambda good: good.sample(65),
    "sample: candidates' dtype": lambda good: good.sample(head={"top_ids": torch.zeros(good.rows, 5).int()}),
    "sample: fewer logits": lambda good: good.sample(head={"top_logits": torch.zeros(good.rows, 4)}),
    "sample: sums": lambda good: good.sample(head={"lse": torch.zeros(good.rows + 1)}),
    "sample: draws": lambda good: good.sample(head={"drawn_logits": torch.zeros(1)}),
    "sample: top_p's dtype": lambda good: good.sample(top_p=torch.ones(good.rows)),
    "sample: keys": lambda good: good.sample(key=torch.zeros(1).long()),
    "advance: other candidates": lambda good: good.advance(4),
    "advance: a state with gaps": lambda good: good.advance(token_ids=torch.zeros(2 * good.rows).long()[::2]),
    "advance: flags' dtype": lambda good: good.advance(ended=torch.zeros(good.rows).bool()),
    "advance: room of results": lambda good: good.advance(lse=torch.zeros(2, good.rows)),
    "advance: no room": lambda good: good.advance(drawn=torch.full((good.rows,), 3, dtype=torch.int32)),
    "advance: less than none drawn": lambda good: good.advance(drawn=torch.full((good.rows,), -1, dtype=torch.int32)),
    "head: positions": lambda good: good.head(draw=good.draw._replace(position=good.draw.position.int())),
    "layers: x": lambda good: good.run(x=good.x[:, 1:]),
    "layers: x's dtype": lambda good: good.run(x=good.x.half()),
    "layers: cos": lambda good: good.run(cos=good.step.cos[:, 1:]),
    "layers: sin": lambda good: good.run(sin=good.step.sin[:-1]),
    "layers: slots": lambda good: good.run(slots=good.step.slots[:-1]),
    "layers: a slot beyond": lambda good: good.run(slots=set_at(good.step.slots, -1, 12 * 16)),
    "layers: fewer caches": lambda good: good.run(k_cache=good.step.k_cache[:1], v_cache=good.step.v_cache[:1]),
    "layers: heads of the cache": lambda good: good.run(k_cache=good.step.k_cache[:, :, :1]),
    "layers: a cache with gaps": lambda good: good.run(v_cache=good.step.v_cache.transpose(0, 1)),
    "layers: caches' dtype": lambda good: good.run(k_cache=good.step.k_cache.double()),
    "layers: a page beyond": lambda good: good.run(
        plan=good.step.plan._replace(pages=set_at(good.step.plan.pages, 0, 12))
    ),
    "layers: an item beyond": lambda good: good.run(
        plan=good.step.plan._replace(items=set_at(good.step.plan.items, (0, 5), 99))
    ),
    "fuse: no layers": lambda good: good.ops.fuse([], EPS, MODEL.head_dim),
    "fuse: head_dim": lambda good: good.ops.fuse(good.layers, EPS, MODEL.head_dim + 1),
    "fuse: norm": lambda good: good.fused(input_norm=torch.ones(MODEL.hidden - 1)),
    "fuse: norms of heads": lambda good: good.fused(head_norms=HeadNorms(torch.ones(9), torch.ones(8), EPS)),
    "fuse: another eps": lambda good: good.fused(head_norms=HeadNorms(torch.ones(8), torch.ones(8), 2 * EPS)),
    "fuse: a table before the first": lambda good: good.fused(rope=-1),
    "fuse: a table too many": lambda good: good.fused(rope=1)(*good.step),
    "fuse: bias": lambda good: good.fused(qkv_bias=torch.ones(3)),
    "fuse: a matrix of another shape": lambda good: good.fused(down=good.weight),
    "fuse: gate and up as one part": lambda good: good.fused(
        gate_up=good.pack(torch.zeros(2 * MODEL.width, MODEL.hidden))
    ),
    "fuse: no matrix": lambda good: good.fused(gate_up=torch.ones(2, 2)),
    "pack: nothing": lambda good: good.pack(),
    "pack: widths": lambda good: good.pack(torch.zeros(2, 32), torch.zeros(2, 33)),
    "pack: one dimension": lambda good: good.pack(torch.zeros(32)),
    "pack: elsewhere": lambda good: good.pack(torch.zeros(2, 32, device="meta")),
    "pack: to half": lambda good: good.pack(torch.zeros(2, 32), dtype=torch.float16),
    "pack: to elsewhere": lambda good: good.pack(torch.zeros(2, 32), device=torch.device("meta")),
    "pack: blocks of another size": lambda good: good.pack(blocks(2, 34, 64)),
    "pack: blocks that are cut off": lambda good: good.pack(blocks(2, 143, 256, "Q4_K")),
    "pack: no bytes": lambda good: good.pack(BlockTensor(torch.zeros(2, 34), "Q8_0", 32)),
}


@pytest.fixture(scope="module")
def good(ops: Kernels) -> Good:
    return Good(ops)


def test_the_calls_that_are_spoilt_are_good(good: Good) -> None:
    for result in (good.store(), good.attend(), good.run(), good.head(targets=torch.zeros(good.rows).long())):
        assert result is not None
    assert good.sample() is not None
    assert good.advance() is not None
    good.head(draw=good.draw)
    good.pack(random_weight("Q4_K", 3, 256, torch.Generator()), torch.zeros(2, 256))


@pytest.mark.parametrize("call", BAD.values(), ids=BAD.keys())
def test_a_bad_call(good: Good, call: Callable[[Good], object]) -> None:
    caches: Step = good.step
    before = [cache.clone() for cache in (caches.k_cache, caches.v_cache)]
    with pytest.raises(KernelArgumentError, match=r"^[a-z_]+: "):
        call(good)
    for cache, other in zip((caches.k_cache, caches.v_cache), before, strict=True):
        torch.testing.assert_close(cache, other, atol=0, rtol=0, equal_nan=True)


def test_arguments_with_gaps_are_taken(good: Good) -> None:
    """Arguments that are only read may have any strides."""
    wide = torch.stack((good.x, good.x), dim=2)[:, :, 0]
    assert not wide.is_contiguous()
    assert torch.equal(good.ops.linear(wide, good.weight), good.ops.linear(good.x, good.weight))
    slots = torch.stack((good.step.slots, good.step.slots), dim=1)[:, 0]
    good.store(slots=slots)
    ids = torch.arange(20)[::2]
    assert torch.equal(good.ops.embed(ids, good.weight), good.ops.embed(ids.contiguous(), good.weight))
    items = good.step.plan.items.t().contiguous().t()
    assert torch.equal(good.planned(items=items), good.attend())  # type: ignore[arg-type]
