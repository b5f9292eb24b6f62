"""Tiles of tails on the GPU kernels: each row has its own tokens in a tile, and sees no others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product

import pytest
import torch
from marcot.kernels import Kernels, Plan, Tile, Tiles
from support.kernels.attention_cases import Cache, Scattered, attend, dense, int32, near, padded
from torch import Tensor


def sharing(prefix: Sequence[int], tails: Sequence[Sequence[int]], width: int, most: int) -> Plan:
    """One row for each of `tails`. All rows read `prefix` in one tile, and their own tails in tiles of `most` rows.

    Unused places repeat the last slot of their row. Rows without a prefix have nothing to merge.
    """
    rows, start = len(tails), len(prefix)
    slots, tiles, partials = list(prefix), [], 0
    if prefix:
        tiles.append(Tile(0, 0, start, 0, rows, 0))
        partials = rows
    for first_row in range(0, rows, most):
        mine = tails[first_row : first_row + most]
        partial = partials + first_row if prefix else -1
        tiles.append(Tile(len(slots), start, len(mine) * width, first_row, len(mine), partial, width))
        for tail in mine:
            slots += [*tail, *tail[-1:] * (width - len(tail))]
    merged = [partial for row in range(rows) for partial in (row, rows + row)] if prefix else []
    merges = range(0, 2 * rows + 1, 2) if prefix else [0] * (rows + 1)
    table = Tiles(rows, int32([start] * rows), int32(tiles), int32(slots), int32(merged), int32(merges))
    positions = [start + len(tail) - 1 for tail in tails]
    return Plan(int32(positions), int32([]).reshape(0, 6), int32([]), table)


def expected(q: Tensor, prefix: Scattered, tails: Sequence[Scattered]) -> Tensor:
    return torch.stack(
        [dense(row, torch.cat((prefix.k, t.k)), torch.cat((prefix.v, t.v))) for row, t in zip(q, tails, strict=True)]
    )


@pytest.mark.parametrize("width", [16, 64])
@pytest.mark.parametrize(("group", "most"), [(1, 16), (2, 5), (7, 4), (7, 1)])
def test_every_row_sees_its_own_tail(
    triton_ops: Kernels, device: torch.device, dtypes: tuple[torch.dtype, ...], group: int, most: int, width: int
) -> None:
    """Tails of one token, of any length, and as long as possible, with and without a prefix."""
    for dtype, shared in product(dtypes, (0, 70)):
        cache = Cache(90, 2, 24, dtype, seed=width + group)
        prefix = cache.new(shared)
        tails = [cache.new(length) for length in (1, width, width // 2 + 1, 3, width - 1, 2, 13)]
        plan = sharing(prefix.slots, [tail.slots for tail in tails], width, most)
        q = torch.randn(len(tails), 2 * group, 24, generator=cache.random).to(dtype)
        out = attend(triton_ops, device, q, cache.k, cache.v, plan)
        near(out, expected(q, prefix, tails))


def test_rows_that_start_at_different_positions(triton_ops: Kernels, device: torch.device) -> None:
    """A row's path is only its tail, or a prefix of its own length and then its tail."""
    cache = Cache(40, 1, 16, torch.float32, seed=1)
    lengths, own = (5, 40, 23), (5, 9, 16)
    paths = [cache.new(length) for length in lengths]
    slots: list[int] = []
    tiles = [Tile(0, 31, 48, 0, 3, 0, 16)]
    for path, tail in zip(paths, own, strict=True):
        slots += [*path.slots[-tail:], *path.slots[-1:] * (16 - tail)]
    for row, (partial, prefix) in enumerate(((3, 0), (3, 31), (4, 7))):
        if prefix:
            tiles.append(Tile(len(slots), 0, prefix, row, 1, partial))
            slots += paths[row].slots[:prefix]
    merged, merges = int32([0, 3, 1, 4, 2]), int32([0, 1, 3, 5])
    starts = [length - tail for length, tail in zip(lengths, own, strict=True)]
    table = Tiles(3, int32(starts), int32(tiles), int32(slots), merged, merges)
    plan = Plan(int32([length - 1 for length in lengths]), int32([]).reshape(0, 6), int32([]), table)
    q = torch.randn(3, 7, 16, generator=cache.random)
    near(
        attend(triton_ops, device, q, cache.k, cache.v, plan),
        torch.stack([dense(row, path.k, path.v) for row, path in zip(q, paths, strict=True)]),
    )


@pytest.mark.parametrize(("width", "most"), [(32, 4), (32, 1), (0, 1)])
def test_rows_that_grow_in_place(triton_ops: Kernels, device: torch.device, width: int, most: int) -> None:
    """Steps in which only positions change: slots are in the table from the start, and hold NaN until they are read.

    Rows have places in a tile of tails, or each has a tile of its own.
    """
    steps = (0, 1, 2, 14)
    cache = Cache(60, 1, 40, torch.float16, seed=5)
    prefix = cache.new(33)
    lengths = (1, 18, 7, 16, 2)
    grown = [cache.new(length + steps[-1]) for length in lengths]
    plan = sharing(prefix.slots, [tail.slots for tail in grown], width or 32, most)
    assert plan.tiles is not None
    if not width:
        own = plan.tiles.tiles[:, 6] > 0
        plan.tiles.tiles[own, 2] = int32([len(tail.slots) for tail in grown])
        plan.tiles.tiles[own, 6] = 0
    plan.positions.sub_(steps[-1])
    written = [0] * len(grown)
    for tail in grown:
        for slot in tail.slots:
            cache.v[slot // 16, :, slot % 16] = torch.nan
    for before, step in pairwise((0, *steps)):
        plan.positions.add_(step - before)
        for row, (tail, length) in enumerate(zip(grown, lengths, strict=True)):
            for token in range(written[row], length + step):
                slot = tail.slots[token]
                cache.v[slot // 16, :, slot % 16] = tail.v[token]
            written[row] = length + step
        q = torch.randn(5, 7, 40, generator=cache.random).half()
        now = [Scattered(t.k[: n + step], t.v[: n + step], []) for t, n in zip(grown, lengths, strict=True)]
        near(attend(triton_ops, device, q, cache.k, cache.v, plan), expected(q, prefix, now))


def test_padded_tables(triton_ops: Kernels, device: torch.device) -> None:
    """Padding of every table and rows that do nothing change no bit."""
    cache = Cache(40, 2, 16, torch.float32, seed=9)
    prefix, tails = cache.new(20), [cache.new(length) for length in (3, 16, 8)]
    plan = sharing(prefix.slots, [tail.slots for tail in tails], 16, 2)
    assert plan.tiles is not None
    q = torch.randn(5, 6, 16, generator=cache.random)
    exact = attend(triton_ops, device, q[:3], cache.k, cache.v, plan)
    near(exact, expected(q[:3], prefix, tails))
    out = attend(triton_ops, device, q, cache.k, cache.v, padded(plan, plan.tiles, 2))
    assert torch.equal(out[:3], exact)
    if device.type == "cpu":  # only there is memory poisoned
        assert out[3:].isnan().all()
