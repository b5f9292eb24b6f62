"""The kernels as a library: each function on every set available to users, against attention and logits in fp64."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marcot import kernels
from marcot.kernels import PAGE_SIZE, Draw, KernelArgumentError, KVSegment, TreePlan, functional
from support.kernels import triton_device
from support.kernels.attention_cases import TOLERANCE, dense
from torch import Tensor

PAGES, KV_HEADS, GROUP, HEAD_DIM = 48, 2, 3, 16
HEADS = KV_HEADS * GROUP

IMPORT = """
import sys
from marcot import kernels

others = [name for name in sys.modules if name.startswith("marcot.") and not name.startswith("marcot.kernels")]
assert set(others) <= {"marcot.engine"}, others  # which only lists names
assert not {"triton", "gguf", "transformers"} & sys.modules.keys()
"""


@pytest.fixture(params=["reference", "cpu", "triton"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The device of this test's kernel set, which the functions then choose."""
    monkeypatch.setenv("MARCOT_KERNELS", request.param)
    return torch.device(triton_device.DEVICE if request.param == "triton" else "cpu")


class Tree(NamedTuple):
    """Segments with random K and V in a cache that is NaN elsewhere.

    Attributes:
        segments: The tree.
        k: `[slots, KV_HEADS, HEAD_DIM]`, the keys of every slot.
        v: The values.
        k_pages: The cache.
        v_pages: The cache.
    """

    segments: list[KVSegment]
    k: Tensor
    v: Tensor
    k_pages: Tensor
    v_pages: Tensor

    def path(self, number: int) -> list[int]:
        """The slots from the root down to the end of a segment."""
        parent = self.segments[number].parent
        return [*(self.path(parent) if parent >= 0 else []), *self.segments[number].slots]

    def attend(self, queries: list[tuple[int, int]], q: Tensor) -> tuple[TreePlan, Tensor]:
        """Plan, and compute attention on the device of the cache."""
        plan = kernels.plan_tree(self.segments, queries, self.k_pages, HEADS)
        return plan, kernels.tree_attention(q.to(self.k_pages.device), self.k_pages, self.v_pages, plan, 0.3).cpu()

    def check(self, queries: list[tuple[int, int]]) -> None:
        """Compare every row with attention over its own path."""
        rows = [(number, tokens - 1 - i) for number, tokens in queries for i in range(tokens)]
        q = torch.randn(len(rows), HEADS, HEAD_DIM, generator=torch.Generator().manual_seed(1)).to(self.k.dtype)
        plan, out = self.attend(queries, q)
        paths = [self.path(number)[: len(self.path(number)) - after] for number, after in rows]
        assert plan.positions.tolist() == [len(path) - 1 for path in paths]
        expected = torch.stack([dense(row, self.k[path], self.v[path]) for row, path in zip(q, paths, strict=True)])
        tolerance = TOLERANCE[self.k.dtype]
        torch.testing.assert_close(out.double(), expected, atol=tolerance, rtol=tolerance)


def tree_of(segments: list[KVSegment], device: torch.device, dtype: torch.dtype = torch.float32) -> Tree:
    random = torch.Generator().manual_seed(len(segments))
    k, v = torch.randn(2, PAGES * PAGE_SIZE, KV_HEADS, HEAD_DIM, generator=random).to(dtype)
    k_pages, v_pages = torch.full((2, PAGES, KV_HEADS, PAGE_SIZE, HEAD_DIM), torch.nan, dtype=dtype, device=device)
    for segment in segments:
        at = segment.slots
        kernels.store_kv(k[at].to(device), v[at].to(device), at, k_pages, v_pages)
    return Tree(segments, k, v, k_pages, v_pages)


def grown(random: Random) -> list[KVSegment]:
    """Segments that begin in any slot of their own pages, some of them empty."""
    free = random.sample(range(PAGES), PAGES)
    segments = []
    for number in range(random.randint(1, 9)):
        length, first_slot = random.choice([0, 1, 5, 16, 33, 40]), random.randrange(PAGE_SIZE)
        pages = [free.pop() for _ in range(-(-(first_slot + length) // PAGE_SIZE))]
        segments.append(KVSegment(random.randint(-1, number - 1), length, pages, first_slot))
    return segments


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_random_trees(device: torch.device, seed: int) -> None:
    """Queries in any order, also in inner segments, and several in one segment."""
    random = Random(seed)
    segments = grown(random)
    with_tokens = [number for number, segment in enumerate(segments) if segment.length]
    if with_tokens:
        chosen = random.choices(with_tokens, k=random.randint(1, 6))
        tree_of(segments, device).check([(each, random.randint(1, min(3, segments[each].length))) for each in chosen])


def test_half_precision(device: torch.device) -> None:
    if os.environ["MARCOT_KERNELS"] == "cpu":
        pytest.skip("the CPU kernels compute in fp32 only")
    segments = [KVSegment(-1, 70, [9, 3, 4, 5, 6]), KVSegment(0, 5, [1]), KVSegment(0, 20, [7, 2], 3)]
    tree_of(segments, device, torch.float16).check([(2, 1), (1, 1), (0, 4)])


def test_many_branches_of_a_prefix(device: torch.device) -> None:
    """As many rows as in a search: they share tiles, and some tiles hold short suffixes of several rows."""
    segments = [KVSegment(-1, 100, range(7)), *(KVSegment(0, 1 + i % 16, [7 + i]) for i in range(40))]
    tree_of(segments, device).check([(i, 1) for i in range(1, 41)])


def test_the_scale_of_scores_is_that_of_the_literature(device: torch.device) -> None:
    tree = tree_of([KVSegment(-1, 20, [0, 1])], device)
    plan = kernels.plan_tree(tree.segments, [(0, 20)], tree.k_pages, HEADS)
    q = torch.randn(20, HEADS, HEAD_DIM).to(device)
    usual = kernels.tree_attention(q, tree.k_pages, tree.v_pages, plan)
    assert torch.equal(usual, kernels.tree_attention(q, tree.k_pages, tree.v_pages, plan, HEAD_DIM**-0.5))


def test_a_scale_that_is_an_integer_is_passed_as_a_float(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU binary compiled for an integer scale would be launched with the next scale, which is a float."""
    tree = tree_of([KVSegment(-1, 20, [0, 1])], device)
    plan = kernels.plan_tree(tree.segments, [(0, 1)], tree.k_pages, HEADS)
    passed: list[object] = []

    class Recorder:
        def tree_attention(self, q: Tensor, k_pages: Tensor, v_pages: Tensor, plan: object, scale: object) -> Tensor:
            passed.append(scale)
            return q

    monkeypatch.setattr(functional, "_ops", lambda tensor: Recorder())
    kernels.tree_attention(torch.zeros(1, HEADS, HEAD_DIM, device=device), tree.k_pages, tree.v_pages, plan, scale=1)
    assert [(scale, type(scale)) for scale in passed] == [(1.0, float)]


# --- tables of pages -------------------------------------------------------------------------------------------------


def slots_of_pages(pages: list[int], length: int) -> list[int]:
    return [page * PAGE_SIZE + offset for page in pages for offset in range(PAGE_SIZE)][:length]


@settings(max_examples=100, deadline=None)
@given(
    tables=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), min_size=1, max_size=7),
    random=st.randoms(use_true_random=False),
)
def test_a_table_of_pages_becomes_a_tree(tables: list[list[int]], random: Random) -> None:
    """Pages are numbered by what precedes them in the table, so that equal beginnings have the same pages."""
    names: dict[tuple[int, ...], int] = {}
    pages = [[names.setdefault(tuple(table[: i + 1]), len(names)) for i in range(len(table))] for table in tables]
    lengths = [random.randint(1, len(table) * PAGE_SIZE) for table in tables]
    segments, queries = kernels.segments_of_pages(pages, lengths)
    tree = Tree(segments, *torch.zeros(4))
    assert [tree.path(number) for number, _ in queries] == list(map(slots_of_pages, pages, lengths))
    assert [rows for _, rows in queries] == [1] * len(tables)
    every = [slot for segment in segments for slot in segment.slots]
    assert len(every) == len(set(every)), "what is shared is in one segment"


def test_a_padded_table_in_a_tensor() -> None:
    table = torch.tensor([[4, 7, -1], [4, 7, 2], [4, 1, -1]], dtype=torch.int32)
    segments, queries = kernels.segments_of_pages(table, torch.tensor([20, 35, 17]))
    assert segments == [
        KVSegment(-1, 16, [4]), KVSegment(0, 4, [7]), KVSegment(1, 15, [7, 2], 4), KVSegment(0, 1, [1])
    ]  # fmt: skip
    assert queries == [(1, 1), (2, 1), (3, 1)]


# --- the LM head -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=str)
def test_lm_head(device: torch.device, random: torch.Generator, stored: torch.dtype) -> None:
    weight = torch.randn(300, 32, generator=random).to(stored)
    hidden = torch.randn(5, 32, generator=random)
    targets = torch.tensor([0, 299, 7, 7, 150])
    head = kernels.pack_head(weight.to(device), dtype=torch.float32)
    draw = Draw(torch.full((5,), 0.7), torch.arange(5), torch.arange(5))
    there = Draw(*(part.to(device) for part in draw))
    found = kernels.lm_head_topk(hidden.to(device), head, 9, targets.to(device), there)
    logits = hidden.double() @ weight.double().T
    expected = logits.topk(9)
    assert torch.equal(found.top_ids.cpu(), expected.indices)
    torch.testing.assert_close(found.top_logits.cpu().double(), expected.values, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.lse.cpu().double(), logits.logsumexp(dim=1), atol=1e-5, rtol=1e-5)
    assert found.target_logits is not None
    torch.testing.assert_close(
        found.target_logits.cpu().double(), logits.gather(1, targets[:, None])[:, 0], atol=1e-5, rtol=1e-5
    )
    assert found.drawn_ids is not None
    assert found.drawn_logits is not None
    drawn = logits.gather(1, found.drawn_ids.cpu()[:, None])[:, 0]
    torch.testing.assert_close(found.drawn_logits.cpu().double(), drawn, atol=1e-5, rtol=1e-5)


def test_the_dtype_of_a_head_on_a_cpu_is_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARCOT_KERNELS", "cpu")
    assert kernels.pack_head(torch.ones(3, 8, dtype=torch.bfloat16)).dtype == torch.float32


# --- what is refused -------------------------------------------------------------------------------------------------


def pages(dtype: torch.dtype = torch.float32, head_dim: int = HEAD_DIM) -> Tensor:
    return torch.zeros(2, KV_HEADS, PAGE_SIZE, head_dim, dtype=dtype)


def planned(*segments: KVSegment, queries: list[tuple[int, int]] | None = None, heads: int = HEADS) -> TreePlan:
    return kernels.plan_tree(segments, [(0, 1)] if queries is None else queries, pages(), heads)


def attended(
    q: Tensor, k_pages: Tensor | None = None, v_pages: Tensor | None = None, scale: float | None = None
) -> Tensor:
    k_pages, v_pages = pages() if k_pages is None else k_pages, pages() if v_pages is None else v_pages
    return kernels.tree_attention(q, k_pages, v_pages, planned(KVSegment(-1, 3, [0])), scale)


def stored(slots: object, tokens: int = 1, k_pages: Tensor | None = None) -> None:
    kv = torch.zeros(tokens, KV_HEADS, HEAD_DIM)
    kernels.store_kv(kv, kv, slots, pages() if k_pages is None else k_pages, pages())  # type: ignore[arg-type]


def topk(k: int = 1, hidden: Tensor | None = None, **more: Tensor | Draw) -> object:
    head = kernels.pack_head(torch.zeros(5, 4))
    return kernels.lm_head_topk(torch.zeros(2, 4) if hidden is None else hidden, head, k, **more)  # type: ignore[arg-type]


Q = torch.zeros(1, HEADS, HEAD_DIM)
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "a parent behind": (lambda: planned(KVSegment(0, 3, [0])), "segment 0 has the parent 0: list parents before"),
    "a length": (lambda: planned(KVSegment(-1, -1, [0])), "segment 0 has the length -1"),
    "a first slot": (lambda: planned(KVSegment(-1, 1, [0], 16)), "begins in slot 16 of a page"),
    "too few pages": (lambda: planned(KVSegment(-1, 9, [1], 8)), "has 1 pages of 16 tokens, but needs 2"),
    "a page": (lambda: planned(KVSegment(-1, 9, [2])), "a page outside of the 2 pages"),
    "no query": (lambda: planned(KVSegment(-1, 9, [1]), queries=[]), "there are no queries"),
    "a query": (lambda: planned(KVSegment(-1, 9, [1]), queries=[(1, 1)]), "reads segment 1, but there are 1"),
    "rows": (lambda: planned(KVSegment(-1, 9, [1]), queries=[(0, 10)]), "10 rows in segment 0, which has 9 tokens"),
    "no KV heads": (
        lambda: kernels.plan_tree([KVSegment(-1, 3, [0])], [(0, 1)], torch.zeros(2, 0, PAGE_SIZE, 16), HEADS),
        "6 query heads cannot be divided evenly among 0",
    ),
    "heads": (lambda: planned(KVSegment(-1, 9, [1]), heads=3), "3 query heads cannot be divided evenly among 2"),
    "fp8": (
        lambda: kernels.plan_tree([], [], pages(torch.float8_e5m2), HEADS),
        r"one of float32, float16, bfloat16; for fp8 pages, which have scales, use the ops of select\(\)",
    ),
    "the size of a page": (
        lambda: kernels.plan_tree([], [], torch.zeros(2, 2, 8, 16), HEADS),
        r"k_pages must be a tensor \[pages, kv_heads, 16, head_dim\], not float32 \[2, 2, 8, 16\]",
    ),
    "no pages": (lambda: kernels.plan_tree([], [], None, 1), "not NoneType"),  # type: ignore[arg-type]
    "queries of other heads": (lambda: attended(torch.zeros(1, 2, HEAD_DIM)), r"q must be float32 \[1, 6, 16\] on cpu"),
    "queries in fp16": (lambda: attended(Q.half()), "q must be float32 .*, not float16"),
    "more rows than planned": (lambda: attended(Q.repeat(2, 1, 1)), r"q must be float32 \[1, 6, 16\]"),
    "pages of other heads": (
        lambda: attended(Q, torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16)), "3 KV heads, but the plan is for 2"
    ),
    "different pages": (lambda: attended(Q, v_pages=pages(head_dim=8)), r"v_pages must be float32 \[2, 2, 16, 16\]"),
    "a negative scale": (lambda: attended(Q, scale=-0.25), "scale must be a finite number above 0, not -0.25"),
    "a scale of zero": (lambda: attended(Q, scale=0), "scale must be a finite number above 0, not 0.0"),
    "a scale that is NaN": (lambda: attended(Q, scale=float("nan")), "above 0, not nan"),
    "a gradient": (lambda: attended(Q.clone().requires_grad_()), r"q needs a gradient, .* torch.no_grad\(\)"),
    "a slot": (lambda: stored([32]), "a slot is outside of the 2 pages, which have 32 slots"),
    "a negative slot": (lambda: stored([-1]), "a slot is outside of the 2 pages"),
    "slots that are no integers": (lambda: stored(torch.tensor([0.5])), r"slots must be int64 \[tokens\], not float32"),
    "slots in a list of floats": (lambda: stored([0.5]), r"slots must be int64 \[tokens\], not float32 \[1\]"),
    "slots that are flags": (lambda: stored(torch.tensor([True])), "not bool"),
    "slots in two dimensions": (lambda: stored([[1]]), r"not int64 \[1, 1\]"),
    "fewer pages than planned": (
        lambda: attended(Q, pages()[:1], pages()[:1]), "there are 1 pages, but the plan is for a cache of 2"
    ),
    "one slot alone": (lambda: stored(torch.tensor(1)), r"slots must be int64 \[tokens\], not int64 \[\] on cpu"),
    "fewer tokens than slots": (lambda: stored([1, 2]), r"k must be float32 \[2, 2, 16\] on cpu, not float32 \[1, 2"),
    "pages that are a view": (lambda: stored([1], k_pages=pages().transpose(0, 1)), "must be contiguous"),
    "k": (lambda: topk(6), "k must be from 1 to 5, not 6"),
    "a weight that is not packed": (
        lambda: kernels.lm_head_topk(torch.zeros(2, 4), torch.zeros(5, 4), 1),  # type: ignore[arg-type]
        r"must be packed once, by pack_head, not float32 \[5, 4\] on cpu",
    ),
    "a list for a weight": (lambda: kernels.pack_head([1.0]), "a BlockTensor, not list"),  # type: ignore[arg-type]
    "a weight that is no matrix": (lambda: kernels.pack_head(torch.zeros(5)), r"a tensor \[vocab, hidden\] .* \[5\]"),
    "a weight of complex numbers": (lambda: kernels.pack_head(torch.zeros(5, 4) * 1j), "of a float dtype .*complex64"),
    "a weight without columns": (lambda: kernels.pack_head(torch.zeros(5, 0)), "the weight has no columns"),
    "blocks that are cut off": (
        lambda: kernels.pack_head(kernels.BlockTensor(torch.zeros(5, 33, dtype=torch.uint8), "Q8_0", 32)),
        r"32 columns in Q8_0 are uint8 \[vocab, 34\], not uint8 \[5, 33\]",
    ),
    "blocks of another dtype": (
        lambda: kernels.pack_head(kernels.BlockTensor(torch.zeros(5, 34), "Q8_0", 32)), r"not float32 \[5, 34\]"
    ),
    "another compute": (
        lambda: kernels.pack_head(torch.zeros(5, 4), compute="quick"),  # type: ignore[arg-type]
        "compute must be one of exact, fast, not quick",
    ),
    "hidden states in fp64": (
        lambda: kernels.pack_head(torch.zeros(5, 4), torch.float64), "one of float32, float16, bfloat16, not float64"
    ),
    "no hidden states": (
        lambda: kernels.lm_head_topk(None, kernels.pack_head(torch.zeros(5, 4)), 1),  # type: ignore[arg-type]
        r"hidden must be float32 \[0, 4\] on cpu, not NoneType",
    ),
    "other hidden states": (lambda: topk(hidden=torch.zeros(2, 5)), r"hidden must be float32 \[2, 4\]"),
    "targets": (lambda: topk(targets=torch.zeros(3, dtype=torch.int64)), r"targets must be int64 \[2\]"),
    "a draw": (
        lambda: topk(draw=Draw(torch.ones(2), torch.zeros(2, dtype=torch.int64), torch.zeros(2))),
        r"position must be int64 \[2\] on cpu, not float32",
    ),
    "pages per sequence": (lambda: kernels.segments_of_pages([[0], [1]], [3, 17]), "sequence 1 has 17 tokens and 1 "),
    "no tokens": (lambda: kernels.segments_of_pages([[0]], [0]), "at least one token"),
    "sequences": (lambda: kernels.segments_of_pages([[0]], [1, 2]), "1 rows of pages, but 2 lengths"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_arguments_that_do_not_fit_are_refused(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(KernelArgumentError, match=message):
        call()


def test_more_heads_than_a_tile_of_the_gpu_kernels_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARCOT_KERNELS", "triton")
    k_pages = torch.zeros(1, 1, PAGE_SIZE, 8, device=triton_device.DEVICE)
    with pytest.raises(KernelArgumentError, match="129 query heads per KV head; the maximum is 128"):
        kernels.plan_tree([KVSegment(-1, 3, [0])], [(0, 1)], k_pages, 129)


def test_a_refused_token_writes_nothing() -> None:
    before = pages()
    with pytest.raises(KernelArgumentError):
        stored([3, 40], tokens=2, k_pages=before)
    assert not before.any()


def test_importing_it_loads_only_kernels_and_builds_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    assert list(tmp_path.iterdir()) == []
