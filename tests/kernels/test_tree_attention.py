"""Tree attention against dense attention of every query over its own path."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.kernels import Plan, WorkItem, select
from torch import Tensor

CPU = torch.device("cpu")
PAGE_SIZE = 4


class Forest:
    """Segments on pages of their own inside NaN-poisoned memory, and queries at the ends of paths of segments."""

    def __init__(self, kv_heads: int, head_dim: int, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.k = torch.full((64, kv_heads, PAGE_SIZE, head_dim), torch.nan)
        self.v = torch.full_like(self.k, torch.nan)
        self.free = torch.randperm(64, generator=self.random).tolist()
        self.segments: list[tuple[list[int], int, int]] = []

    def add(self, length: int, first_slot: int) -> int:
        """Store a segment of random K and V; returns its number."""
        pages = [self.free.pop() for _ in range(-(-(first_slot + length) // PAGE_SIZE))]
        for i in range(first_slot, first_slot + length):
            for cache in (self.k, self.v):
                cache[pages[i // PAGE_SIZE], :, i % PAGE_SIZE] = torch.randn(cache.shape[1::2], generator=self.random)
        self.segments.append((pages, first_slot, length))
        return len(self.segments) - 1

    def tokens(self, cache: Tensor, path: list[int]) -> Tensor:
        """`[tokens, kv_heads, head_dim]` of a path."""
        rows = []
        for pages, first_slot, length in (self.segments[number] for number in path):
            rows += [cache[pages[i // PAGE_SIZE], :, i % PAGE_SIZE] for i in range(first_slot, first_slot + length)]
        return torch.stack(rows)

    def plan(self, queries: list[tuple[list[int], int]], chunk: int) -> Plan:
        """The plan of queries `(path, rows)`, which are in depth-first order; the rows are the path's last tokens."""
        items: dict[tuple[int, ...], list[int]] = {}
        positions: list[int] = []
        for path, rows in queries:
            total = sum(self.segments[number][2] for number in path)
            for depth in range(len(path)):
                readers = items.setdefault(tuple(path[: depth + 1]), [len(positions), 0])
                readers[1] += rows
            positions += range(total - rows, total)
        work, pages = [], []
        for path, (first_row, rows) in items.items():
            start = sum(self.segments[number][2] for number in path[:-1])
            owned, first_slot, length = self.segments[path[-1]]
            for begin in range(0, length, chunk):
                run = min(chunk, length - begin)
                page, slot = divmod(first_slot + begin, PAGE_SIZE)
                work.append(WorkItem(len(pages), slot, start + begin, run, first_row, rows))
                pages += owned[page : (first_slot + begin + run - 1) // PAGE_SIZE + 1]
        return Plan(*(torch.tensor(field, dtype=torch.int32) for field in (positions, work, pages)))


def dense(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Attention of `q`, whose rows are the last tokens of a path, over its K and V (`[tokens, kv_heads, head_dim]`)."""
    group = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(group, dim=1).double() for x in (k, v))
    scores = torch.einsum("rhd,thd->hrt", q.double(), k) * scale
    rows, tokens = len(q), len(k)
    scores.masked_fill_(torch.ones(rows, tokens).triu(tokens - rows + 1).bool(), -torch.inf)
    return torch.einsum("hrt,thd->rhd", scores.softmax(dim=-1), v)


@settings(max_examples=60, deadline=None)
@given(
    group=st.sampled_from([1, 3, 6, 7]),
    kv_heads=st.integers(1, 2),
    lengths=st.lists(st.tuples(st.integers(1, 9), st.integers(0, PAGE_SIZE - 1)), min_size=7, max_size=7),
    rows=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    chunk=st.integers(1, 12),
    seed=st.integers(0, 2**31),
)
def test_random_trees(
    group: int, kv_heads: int, lengths: list[tuple[int, int]], rows: list[int], chunk: int, seed: int
) -> None:
    """Segment 0 above 1 and 2; 3 and 4 below 1; 5 and 6 below 2: four branches with 1 to 9 new tokens."""
    forest = Forest(kv_heads, 8, seed)
    for length, first_slot in lengths:
        forest.add(length, first_slot)
    paths = [[0, 1, 3], [0, 1, 4], [0, 2, 5], [0, 2, 6]]
    queries = [(path, min(count, lengths[path[-1]][0])) for path, count in zip(paths, rows, strict=True)]
    q = torch.randn(sum(count for _, count in queries), group * kv_heads, 8, generator=forest.random)
    out = select(CPU).tree_attention(q, forest.k, forest.v, forest.plan(queries, chunk), 0.37)
    expected = [
        dense(part, forest.tokens(forest.k, path), forest.tokens(forest.v, path), 0.37)
        for part, (path, _) in zip(q.split([count for _, count in queries]), queries, strict=True)
    ]
    torch.testing.assert_close(out.double(), torch.cat(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tokens", [1, 63, 200])
def test_causal_prefill_of_one_segment(tokens: int) -> None:
    forest = Forest(kv_heads=1, head_dim=4, seed=tokens)
    forest.add(tokens, first_slot=3)
    q = torch.randn(tokens, 7, 4, generator=forest.random)
    out = select(CPU).tree_attention(q, forest.k, forest.v, forest.plan([([0], tokens)], chunk=50), 0.5)
    expected = dense(q, forest.tokens(forest.k, [0]), forest.tokens(forest.v, [0]), 0.5)
    torch.testing.assert_close(out.double(), expected, atol=1e-5, rtol=1e-5)


def test_scores_of_any_size_do_not_overflow() -> None:
    forest = Forest(kv_heads=1, head_dim=4, seed=0)
    forest.add(20, first_slot=0)
    q = torch.randn(1, 3, 4, generator=forest.random) * 1e4
    out = select(CPU).tree_attention(q, forest.k, forest.v, forest.plan([([0], 1)], chunk=7), 1.0)
    expected = dense(q, forest.tokens(forest.k, [0]), forest.tokens(forest.v, [0]), 1.0)
    torch.testing.assert_close(out.double(), expected, atol=1e-4, rtol=1e-4)
