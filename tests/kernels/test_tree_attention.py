"""Tree attention against dense attention of every query over its own path."""

from __future__ import annotations

import pytest
import torch
from forest import PAGE_SIZE, Forest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.kernels import Kernels
from torch import Tensor


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
    lengths=st.lists(st.tuples(st.integers(1, 40), st.integers(0, PAGE_SIZE - 1)), min_size=7, max_size=7),
    rows=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    chunk=st.integers(1, 50),
    seed=st.integers(0, 2**31),
)
def test_random_trees(
    ops: Kernels, group: int, kv_heads: int, lengths: list[tuple[int, int]], rows: list[int], chunk: int, seed: int
) -> None:
    """Segment 0 above 1 and 2; 3 and 4 below 1; 5 and 6 below 2: four branches with 1 to 9 new tokens."""
    forest = Forest(ops, kv_heads, 8, seed)
    for length, first_slot in lengths:
        forest.add(length, first_slot)
    paths = [[0, 1, 3], [0, 1, 4], [0, 2, 5], [0, 2, 6]]
    queries = [(path, min(count, lengths[path[-1]][0])) for path, count in zip(paths, rows, strict=True)]
    q = torch.randn(sum(count for _, count in queries), group * kv_heads, 8, generator=forest.random)
    out = ops.tree_attention(q, forest.k_pages, forest.v, forest.plan(queries, chunk), 0.37)
    expected = [
        dense(part, forest.tokens(forest.k, path), forest.tokens(forest.v, path), 0.37)
        for part, (path, _) in zip(q.split([count for _, count in queries]), queries, strict=True)
    ]
    torch.testing.assert_close(out.double(), torch.cat(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tokens", [1, 63, 200])
def test_causal_prefill_of_one_segment(ops: Kernels, tokens: int) -> None:
    forest = Forest(ops, kv_heads=1, head_dim=4, seed=tokens)
    forest.add(tokens, first_slot=3)
    q = torch.randn(tokens, 7, 4, generator=forest.random)
    out = ops.tree_attention(q, forest.k_pages, forest.v, forest.plan([([0], tokens)], chunk=50), 0.5)
    expected = dense(q, forest.tokens(forest.k, [0]), forest.tokens(forest.v, [0]), 0.5)
    torch.testing.assert_close(out.double(), expected, atol=1e-5, rtol=1e-5)


def test_scores_of_any_size_do_not_overflow(ops: Kernels) -> None:
    forest = Forest(ops, kv_heads=1, head_dim=4, seed=0)
    forest.add(20, first_slot=0)
    q = torch.randn(1, 3, 4, generator=forest.random) * 1e4
    out = ops.tree_attention(q, forest.k_pages, forest.v, forest.plan([([0], 1)], chunk=7), 1.0)
    expected = dense(q, forest.tokens(forest.k, [0]), forest.tokens(forest.v, [0]), 1.0)
    torch.testing.assert_close(out.double(), expected, atol=1e-4, rtol=1e-4)
