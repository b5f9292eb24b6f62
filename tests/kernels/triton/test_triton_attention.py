"""Tree attention on the GPU kernels: every tile, in every dtype, against dense attention in fp64."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from marcot.kernels import Kernels, KVScales, Plan, Tile, Tiles, Tiling, reference
from marcot.kernels.triton.arch import INTERPRETED, detect_arch
from marcot.kernels.triton.attention import fp8
from marcot.kernels.triton.attention import tree_attention as op
from marcot.kernels.triton.attention.merge import Tickets
from marcot.kernels.triton.attention.shape import BLOCKS_OF_ROWS
from marcot.kernels.triton.attention.tiles import cut
from marcot.kernels.triton.variant import pointer_to
from support.kernels.attention_cases import GARBAGE, PAGE_SIZE, TOLERANCE, Cache, attend, dense, int32, near, on, padded
from support.kernels.forest import Forest, Query
from support.kernels.interpreter_arithmetic import multiply_rows_apart
from torch import Tensor


def dense_rows(forest: Forest, q: Tensor, queries: Sequence[Query]) -> Tensor:
    """`dense` for all rows, with numbers rounded to the dtype of `q`."""
    ends = [query._replace(end=end) for query in queries for end in range(query.end - query.rows + 1, query.end + 1)]
    tokens = [[forest.tokens(cache, query).to(q.dtype) for cache in (forest.k, forest.v)] for query in ends]
    return torch.stack([dense(row, *kv) for row, kv in zip(q, tokens, strict=True)])


def tree(head_dim: int, kv_heads: int = 1) -> tuple[Forest, list[Query]]:
    """Readers of the middle of a root and of the nodes below it, and a prefill chunk."""
    forest = Forest(reference, kv_heads, head_dim, seed=head_dim, pages=90)
    for segment in ((181, 3, None), (70, 0, 0), (5, 15, 1), (1, 9, 1), (19, 7, 0)):
        forest.add(*segment)
    queries = [Query(0, 150, 2), Query(2, 5, 3), Query(3, 1, 1), Query(4, 19, 13)]
    return forest, forest.depth_first(queries)


@pytest.mark.parametrize("block_m", BLOCKS_OF_ROWS)
@pytest.mark.parametrize(("group", "head_dim", "workers"), [(1, 64, 1), (6, 128, 1000), (7, 40, 1), (7, 8, 1000)])
def test_every_block_of_rows(
    triton_ops: Kernels,
    device: torch.device,
    dtypes: tuple[torch.dtype, ...],
    group: int,
    head_dim: int,
    workers: int,
    block_m: int,
) -> None:
    """With many workers tiles have 128 tokens; with one, they are as long as possible."""
    forest, queries = tree(head_dim)
    plan = forest.plan(queries)
    tiles = cut(plan, PAGE_SIZE, group, Tiling((block_m // group,), workers))
    for dtype in dtypes[1:]:
        q = forest.queries(len(plan.positions), group).to(dtype)
        pages = forest.k_pages.to(dtype), forest.v.to(dtype)
        near(attend(triton_ops, device, q, *pages, plan._replace(tiles=tiles)), dense_rows(forest, q, queries))


@pytest.mark.parametrize("pages", [torch.float8_e4m3fn, torch.float8_e5m2], ids=["e4m3", "e5m2"])
def test_pages_in_fp8(
    triton_ops: Kernels, device: torch.device, dtypes: tuple[torch.dtype, ...], pages: torch.dtype
) -> None:
    forest, queries = tree(24, kv_heads=2)
    plan = forest.plan(queries)
    stored = forest.k_pages.to(pages), forest.v.to(pages)
    scales = KVScales(torch.tensor([0.5, 1.7]), torch.tensor([3.0, 0.2]))
    forest.k[:], forest.v[:] = (x.float() * s[:, None, None] for x, s in zip(stored, scales, strict=True))
    for dtype in dtypes:
        q = forest.queries(len(plan.positions), 3).to(dtype)
        expected = dense_rows(forest, q.double(), queries)
        out = attend(triton_ops, device, q, *stored, plan, scales=scales)
        torch.testing.assert_close(out.double(), expected, atol=3 * TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@triton.jit
def pairs_by_hand(pairs: Any) -> Any:
    """`fp8.halves_of_pairs` for the interpreter, which cannot run assembly."""
    first, second = (pairs & 255).to(tl.uint8), (pairs >> 8 & 255).to(tl.uint8)
    return (
        first.to(tl.float8e4nv, bitcast=True).to(tl.float16),
        second.to(tl.float8e4nv, bitcast=True).to(tl.float16),
    )


@triton.jit
def words_by_hand(words: Any, rows: tl.constexpr, columns: tl.constexpr) -> Any:
    """`fp8.halves_of_words` for the interpreter."""
    shifts = 8 * tl.arange(0, 4)[None, None, :]
    values = (words[:, :, None] >> shifts & 255).to(tl.uint8).to(tl.float8e4nv, bitcast=True).to(tl.float16)
    return tl.reshape(values, [rows, columns])


@pytest.mark.parametrize("block_m", BLOCKS_OF_ROWS)
@pytest.mark.parametrize("head_dim", [32, 64, 128])
def test_several_fp8_at_a_time(
    triton_ops: Kernels, device: torch.device, monkeypatch: pytest.MonkeyPatch, head_dim: int, block_m: int
) -> None:
    """Whole blocks of E4M3 are read in pairs and words. The interpreter gets functions in place of the assembly."""
    if device.type == "cpu":
        if head_dim == 128:
            pytest.skip("the interpreter reads 128 as it reads 64, but slowly")
        monkeypatch.setattr(op, "held_in", lambda *_: torch.int16 if block_m <= 32 else torch.int32)
        monkeypatch.setattr(fp8, "halves_of_pairs", pairs_by_hand)
        monkeypatch.setattr(op, "halves_of_words", words_by_hand)
    forest, queries = tree(head_dim)
    plan = forest.plan(queries)
    tiles = cut(plan, PAGE_SIZE, 7, Tiling((block_m // 7,), 4))
    stored = forest.k_pages.to(torch.float8_e4m3fn), forest.v.to(torch.float8_e4m3fn)
    scales = KVScales(torch.tensor([0.5]), torch.tensor([3.0]))
    forest.k[:], forest.v[:] = (x.float() * s[:, None, None] for x, s in zip(stored, scales, strict=True))
    dtype = torch.float16 if device.type == "cpu" else torch.bfloat16
    q = forest.queries(len(plan.positions), 7).to(dtype)
    out = attend(triton_ops, device, q, *stored, plan._replace(tiles=tiles), scales=scales)
    expected = dense_rows(forest, q.double(), queries)
    torch.testing.assert_close(out.double(), expected, atol=3 * TOLERANCE[dtype], rtol=TOLERANCE[dtype])


def test_room_that_is_not_used(triton_ops: Kernels, device: torch.device) -> None:
    """Padding of the tables changes no bit, and padded rows are not written."""
    forest, queries = tree(16)
    plan = forest.plan(queries)
    tiles = cut(plan, PAGE_SIZE, 7, Tiling((4,), 10))
    rows = len(plan.positions)
    q = forest.queries(rows + 3, 7)
    exact = attend(triton_ops, device, q[:rows], forest.k_pages, forest.v, plan._replace(tiles=tiles))
    out = attend(triton_ops, device, q, forest.k_pages, forest.v, padded(plan, tiles, 3))
    assert torch.equal(out[:rows], exact)
    if device.type == "cpu":  # only there is memory poisoned
        assert out[rows:].isnan().all()


def test_only_empty_tiles(triton_ops: Kernels, device: torch.device) -> None:
    """Graphs are captured with empty tiles."""
    nothing = Tiles(4, int32([0] * 3), int32([Tile(*[0] * 6)] * 8), int32([0] * 64), int32([0] * 20), int32([0] * 4))
    plan = Plan(int32([0] * 3), int32([]).reshape(0, 6), int32([]), nothing)
    pages = torch.full((2, 1, PAGE_SIZE, 8), torch.nan)
    out = attend(triton_ops, device, torch.zeros(3, 7, 8), pages, pages, plan)
    assert device.type != "cpu" or out.isnan().all()


@pytest.mark.parametrize("length", [1, 63, 64, 65, 130])
def test_tokens_anywhere(triton_ops: Kernels, device: torch.device, length: int) -> None:
    """One tile of tokens in any slots, in any order."""
    cache = Cache(30, 2, 8, torch.float32, seed=length)
    path = cache.new(length)
    tile = Tile(0, 0, length, 0, 1, -1)
    tiles = Tiles(4, int32([GARBAGE]), int32([tile]), int32(path.slots), int32([]), int32([0, 0]))
    plan = Plan(int32([length - 1]), int32([]).reshape(0, 6), int32([]), tiles)
    q = torch.randn(1, 6, 8, generator=cache.random)
    near(attend(triton_ops, device, q, cache.k, cache.v, plan), dense(q[0], path.k, path.v)[None])


def test_a_row_that_sees_nothing_of_a_tile(triton_ops: Kernels, device: torch.device) -> None:
    """Two rows of one branch, and a tile that begins behind the first row."""
    cache = Cache(20, 1, 16, torch.float32, seed=0)
    path = cache.new(101)
    tiles = Tiles(
        2,
        int32([GARBAGE] * 2),
        int32([Tile(0, 0, 64, 0, 2, 0), Tile(64, 64, 37, 0, 2, 2)]),
        int32(path.slots),
        int32([0, 2, 1, 3]),
        int32([0, 2, 4]),
    )
    plan = Plan(int32([50, 100]), int32([]).reshape(0, 6), int32([]), tiles)
    q = torch.randn(2, 7, 16, generator=cache.random)
    out = attend(triton_ops, device, q, cache.k, cache.v, plan)
    near(out, torch.stack([dense(row, path.k[:end], path.v[:end]) for row, end in zip(q, (51, 101), strict=True)]))


@pytest.mark.parametrize("order", [0, 1, 2])
def test_who_comes_last_changes_no_bit(triton_ops: Kernels, device: torch.device, order: int) -> None:
    """Tiles in any order: another tile merges their partial results, but in the order of positions."""
    forest, queries = tree(16, kv_heads=2)
    plan = forest.plan(queries)
    tiles = cut(plan, PAGE_SIZE, 7, Tiling((4,), 1000))
    assert tiles.merges.diff().max() > 2
    q = forest.queries(len(plan.positions), 7)
    shuffled = torch.randperm(len(tiles.tiles), generator=torch.Generator().manual_seed(order))
    plans = (plan._replace(tiles=tiles._replace(tiles=table)) for table in (tiles.tiles, tiles.tiles[shuffled]))
    expected, out = (attend(triton_ops, device, q, forest.k_pages, forest.v, one) for one in plans)
    assert torch.equal(out, expected)


def test_tickets_are_left_as_they_were(device: torch.device) -> None:
    """Consecutive launches use the same tickets."""
    forest, queries = tree(16)
    plan = forest.plan(queries)
    q = forest.queries(len(plan.positions), 3).to(device)
    tickets = Tickets()
    counters = tickets.take(q[..., 0].numel(), device)
    cache, plan = (forest.k_pages.to(device), forest.v.to(device)), on(device, plan)
    first, second = (op.tree_attention(detect_arch(device), tickets, q, *cache, plan, 0.3) for _ in range(2))
    assert torch.equal(first, second)
    assert not counters.any()
    assert tickets.take(1, device) is counters
    assert len(tickets.take(len(counters) + 1, device)) > len(counters)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e4])
def test_queries_of_any_size_meet_fp8(triton_ops: Kernels, device: torch.device, scale: float) -> None:
    """Also with queries that only bf16 can hold, not fp16."""
    forest, queries = tree(16)
    plan = forest.plan(queries)
    stored = forest.k_pages.to(torch.float8_e5m2), forest.v.to(torch.float8_e5m2)
    forest.k[:], forest.v[:] = (x.float() for x in stored)
    dtype = torch.float16 if device.type == "cpu" else torch.bfloat16
    size = min(max(scale, 1e-4), 1e3) if device.type == "cpu" else scale
    q = (forest.queries(len(plan.positions), 7) * size).to(dtype)
    plan_scale = 0.3 / size
    out = attend(triton_ops, device, q, *stored, plan, plan_scale, KVScales(*torch.ones(2, 1)))
    exact = q.double() * plan_scale / 0.3
    torch.testing.assert_close(out.double(), dense_rows(forest, exact, queries), atol=5e-2, rtol=2e-2)


CHUNK = 64


def fixed_tiles(rows: int, paths: Sequence[Sequence[int]], shared: int) -> Tiles:
    """Tiles at multiples of `CHUNK`: common ones while all paths are the same, then one for each row.

    Args:
        rows: Maximum number of rows of a tile.
        paths: The slots of each row's path.
        shared: Number of chunks that all paths have in common.
    """
    tiles: list[Tile] = []
    slots: list[int] = []
    mine: list[list[int]] = [[] for _ in paths]
    partials = 0
    for start in range(0, max(map(len, paths)), CHUNK):
        for row, path in enumerate(paths):
            count = len(paths) if start < shared * CHUNK else 1
            if start >= len(path) or (count > 1 and row):
                continue
            tiles.append(Tile(len(slots), start, min(CHUNK, len(path) - start), row, count, partials))
            slots += path[start : start + CHUNK]
            for reader in range(row, row + count):
                mine[reader].append(partials)
                partials += 1
    merges = [0]
    for partial in mine:
        merges.append(merges[-1] + len(partial))
    no_tails = int32([GARBAGE] * len(paths))
    return Tiles(rows, no_tails, int32(tiles), int32(slots), int32([*chain(*mine)]), int32(merges))


@pytest.mark.parametrize("length", [129, 192, 300])
def test_a_row_has_the_same_bits_beside_any_neighbours(
    triton_ops: Kernels,
    device: torch.device,
    dtypes: tuple[torch.dtype, ...],
    monkeypatch: pytest.MonkeyPatch,
    length: int,
) -> None:
    """Alone and among longer and shorter neighbours, wherever its tokens are stored."""
    multiply_rows_apart(monkeypatch)
    for dtype in dtypes:
        cache = Cache(100, 1, 40, dtype, seed=length)
        path = cache.new(length)
        again = cache.copy(path.k, path.v)
        q = torch.randn(4, 7, 40, generator=cache.random).to(dtype)

        def plan(*paths: Sequence[int], shared: int = 0) -> Plan:
            tiles = fixed_tiles(4, paths, shared)
            return Plan(int32([len(path) - 1 for path in paths]), int32([]).reshape(0, 6), int32([]), tiles)

        alone = attend(triton_ops, device, q[2:3], cache.k, cache.v, plan(path.slots))
        near(alone, dense(q[2], path.k, path.v)[None])
        elsewhere = attend(triton_ops, device, q[2:3], cache.k, cache.v, plan(again.slots))
        assert torch.equal(elsewhere, alone), "in other slots"
        beginning = again.slots[: 2 * CHUNK]
        others = [beginning + cache.new(tokens).slots for tokens in (1, 100, 233)]
        company = plan(others[0], others[1], again.slots, others[2], shared=2)
        together = attend(triton_ops, device, q, cache.k, cache.v, company)
        assert torch.equal(together[2:3], alone), "with neighbours"


@pytest.mark.parametrize("head_dim", [64, 128])
def test_every_launch_is_among_the_variants(monkeypatch: pytest.MonkeyPatch, head_dim: int) -> None:
    variants = list(op.tree_attention_variants(INTERPRETED))
    launches: list[dict[str, Any]] = []

    class Recorder:
        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            def launch(*arguments: Any, **options: Any) -> None:
                named = dict(zip(self.kernel.arg_names, arguments, strict=True))
                launches.append({"kernel": self.kernel, "num_stages": 3, **options, **named})

            return launch

    monkeypatch.setattr(op, "_attend", Recorder(op._attend))
    forest, queries = tree(head_dim)
    plan = forest.plan(queries)
    q = forest.queries(len(plan.positions), 7)
    for dtype in (torch.float16, torch.bfloat16):
        for pages, scales in ((dtype, None), (torch.float8_e5m2, KVScales(*torch.ones(2, 1)))):
            for block_m in BLOCKS_OF_ROWS:
                tiles = cut(plan, PAGE_SIZE, 7, Tiling((block_m // 7,), 1000))
                cache = forest.k_pages.to(pages), forest.v.to(pages)
                op.tree_attention(INTERPRETED, Tickets(), q.to(dtype), *cache, plan._replace(tiles=tiles), 0.3, scales)
    assert len(launches) == 2 * 2 * len(BLOCKS_OF_ROWS)
    for launch in launches:
        assert any(
            variant.kernel is launch["kernel"]
            and (variant.num_warps, variant.num_stages) == (launch["num_warps"], launch["num_stages"])
            and variant.constants.items() <= launch.items()
            and all(
                pointer_to(launch[name].dtype) == kind
                for name, kind in variant.signature.items()
                if isinstance(launch[name], Tensor)
            )
            for variant in variants
        )


def test_variants_have_every_argument() -> None:
    for variant in op.tree_attention_variants(INTERPRETED):
        assert not set(variant.signature) & set(variant.constants)
        assert set(variant.signature) | set(variant.constants) == set(variant.kernel.arg_names)
        assert set(variant.aligned) <= set(variant.signature)
