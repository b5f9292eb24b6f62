"""Tree attention against dense attention of every query over its own path."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.kernels import Kernels
from support.kernels.forest import Forest, Query, Shape, shapes
from torch import Tensor


def dense(forest: Forest, q: Tensor, queries: Sequence[Query], scale: float) -> Tensor:
    """Attention of each query's rows over all tokens of its path, in fp64."""
    group = q.shape[1] // forest.v.shape[1]
    results = []
    for part, query in zip(q.split([query.rows for query in queries]), queries, strict=True):
        k, v = (forest.tokens(cache, query).repeat_interleave(group, dim=1).double() for cache in (forest.k, forest.v))
        scores = torch.einsum("rhd,thd->hrt", part.double(), k) * scale
        rows, tokens = len(part), len(k)
        scores.masked_fill_(torch.ones(rows, tokens).triu(tokens - rows + 1).bool(), -torch.inf)
        results.append(torch.einsum("hrt,thd->rhd", scores.softmax(dim=-1), v))
    return torch.cat(results)


def check(
    ops: Kernels, forest: Forest, queries: Sequence[Query], group: int, scale: float, random: Random | None = None
) -> None:
    q = forest.queries(sum(query.rows for query in queries), group)
    out = ops.tree_attention(q, forest.k_pages, forest.v, forest.plan(queries, random), scale)
    torch.testing.assert_close(out.double(), dense(forest, q, queries, scale), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head_dim", [4, 8, 32, 64, 80, 128])
@pytest.mark.parametrize("group", [1, 3, 6, 7])
def test_shapes_of_heads(ops: Kernels, group: int, head_dim: int) -> None:
    """Readers of nested branches below a root, and one that ends in the middle of the root."""
    forest = Forest(ops, kv_heads=2, head_dim=head_dim, seed=group)
    for segment in ((70, 3, None), (33, 0, 0), (5, 15, 1), (1, 9, 1), (18, 7, 0)):
        forest.add(*segment)
    queries = forest.depth_first([Query(0, 41, 3), Query(2, 5, 5), Query(3, 1, 1), Query(4, 18, 10)])
    check(ops, forest, queries, group, head_dim**-0.5)


@settings(max_examples=100, deadline=None)
@given(
    group=st.sampled_from([1, 3, 6, 7]),
    kv_heads=st.integers(1, 2),
    shape=shapes(),
    random=st.none() | st.randoms(use_true_random=True),
    seed=st.integers(0, 2**31),
)
def test_random_trees(ops: Kernels, group: int, kv_heads: int, shape: Shape, random: Random | None, seed: int) -> None:
    forest = Forest(ops, kv_heads, 8, seed)
    check(ops, forest, shape.grow(forest), group, 0.37, random)


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 63, 200])
def test_causal_prefill_of_one_segment(ops: Kernels, tokens: int) -> None:
    forest = Forest(ops, kv_heads=1, head_dim=16, seed=tokens)
    forest.add(tokens, first_slot=3)
    check(ops, forest, [Query(0, tokens, tokens)], 7, 0.5, Random(tokens))


@pytest.mark.parametrize("branches", [*range(1, 20), 31, 32, 33, 70])
def test_every_number_of_branches(ops: Kernels, branches: int) -> None:
    forest = Forest(ops, kv_heads=2, head_dim=32, seed=branches, pages=branches + 8)
    forest.add(100, first_slot=5)
    for number in range(branches):
        forest.add(number % 13 + 1, first_slot=number % 3, parent=0)
    check(ops, forest, [Query(n + 1, n % 13 + 1, 1) for n in range(branches)], 3, 0.2)


def test_a_long_path(fast_ops: Kernels) -> None:
    forest = Forest(fast_ops, kv_heads=1, head_dim=64, seed=1, pages=600)
    forest.add(8000, first_slot=1)
    forest.add(900, first_slot=2, parent=0)
    check(fast_ops, forest, [Query(0, 8000, 5), Query(1, 900, 12)], 7, 0.125, Random(1))


def test_items_behind_a_reader_s_last_token(ops: Kernels) -> None:
    """The rows of a token in the middle of a segment see nothing of most work items of that segment."""
    forest = Forest(ops, kv_heads=1, head_dim=16, seed=3)
    forest.add(300, first_slot=4)
    queries = [Query(0, 1, 1), Query(0, 20, 2), Query(0, 150, 1)]
    for seed in range(10):
        check(ops, forest, queries, 6, 0.25, Random(seed))


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e4], ids=str)
def test_scores_of_any_size(ops: Kernels, size: float) -> None:
    forest = Forest(ops, kv_heads=1, head_dim=4, seed=0)
    forest.add(20, first_slot=0)
    forest.k *= size
    queries = [Query(0, 20, 2)]
    q = forest.queries(2, 3)
    out = ops.tree_attention(q, forest.k_pages, forest.v, forest.plan(queries, Random(0)), 1.0)
    torch.testing.assert_close(out.double(), dense(forest, q, queries, 1.0), atol=1e-4, rtol=1e-4)


def test_what_is_not_in_the_plan_is_not_touched(ops: Kernels) -> None:
    forest = Forest(ops, kv_heads=2, head_dim=8, seed=2)
    forest.add(50, first_slot=9)
    before = forest.k_pages.clone(), forest.v.clone()
    check(ops, forest, [Query(0, 50, 7)], 3, 0.3)
    for cache, copy in zip((forest.k_pages, forest.v), before, strict=True):
        torch.testing.assert_close(cache, copy, atol=0, rtol=0, equal_nan=True)
