"""How work items are cut into tiles, against a walk over the tokens of every row."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.kernels import Plan, Tile, Tiles, Tiling, WorkItem, reference
from marcot.kernels.triton.attention.tiles import cut
from support.kernels.forest import Forest, Query, Shape, shapes

PAGE_SIZE = 16
tilings = st.builds(
    lambda rows, workers: Tiling(tuple(sorted(rows)), workers),
    st.sets(st.integers(1, 40), min_size=1, max_size=4),
    st.integers(1, 300),
)


def tiles_of(tiles: Tiles) -> list[Tile]:
    return [Tile(*columns) for columns in tiles.tiles.tolist()]


def paths(plan: Plan) -> list[dict[int, int]]:
    """For each row, the slot of every position that it sees."""
    seen: list[dict[int, int]] = [{} for _ in plan.positions]
    pages = plan.pages.tolist()
    for item in (WorkItem(*columns) for columns in plan.items.tolist()):
        for token in range(item.length):
            page, slot = divmod(item.first_slot + token, PAGE_SIZE)
            place = pages[item.first_page + page] * PAGE_SIZE + slot
            for row in range(item.first_row, item.first_row + item.rows):
                if item.position + token <= plan.positions[row]:
                    seen[row][item.position + token] = place
    return seen


def check(plan: Plan, tiles: Tiles, tiling: Tiling) -> None:
    """Check everything that the docstrings of `Tiles` and `Tile` promise."""
    rows, slots = len(plan.positions), tiles.slots.tolist()
    seen: list[dict[int, int]] = [{} for _ in range(rows)]
    direct, partial = defaultdict(int), defaultdict(dict)
    assert tiles.rows in tiling.rows
    for tile in tiles_of(tiles):
        assert tile.length > 0
        assert 0 < tile.rows <= tiles.rows
        readers = range(tile.first_row, tile.first_row + tile.rows)
        assert max(plan.positions[row] for row in readers) >= tile.position + tile.length - 1, "nobody sees its end"
        for number, row in enumerate(readers):
            for token in range(tile.length):
                position = tile.position + token
                if position <= plan.positions[row]:
                    assert position not in seen[row], "twice"
                    seen[row][position] = slots[tile.first + token]
            if tile.partial < 0:
                direct[row] += 1
            else:
                assert tile.partial + number not in partial[row].values()
                partial[row][tile.position] = tile.partial + number
    assert seen == paths(plan)
    lengths = [tile.length for tile in tiles_of(tiles)]
    assert lengths == sorted(lengths, reverse=True), "long ones first"

    merges, partials = tiles.merges.tolist(), tiles.partials.tolist()
    assert merges[0] == 0
    assert merges[-1] == len(partials)
    assert sorted(partials) == list(range(len(partials))), "no partial result has two rows"
    for row in range(rows):
        assert partials[merges[row] : merges[row + 1]] == [partial[row][at] for at in sorted(partial[row])]
        assert (direct[row], len(partial[row]) > 0) in ((1, False), (0, True))
    for table in tiles[1:]:
        assert table.dtype == torch.int32


@settings(max_examples=60, deadline=None)
@given(
    shape=shapes(most_tokens=300),
    random=st.none() | st.randoms(use_true_random=True),
    group=st.sampled_from([1, 3, 7]),
    tiling=tilings,
)
def test_random_trees(shape: Shape, random: Random | None, group: int, tiling: Tiling) -> None:
    forest = Forest(reference, kv_heads=1, head_dim=2, seed=0, pages=160)
    plan = forest.plan(shape.grow(forest), random)
    check(plan, cut(plan, PAGE_SIZE, group, tiling), tiling)


def test_nodes_of_one_branch_are_one_run() -> None:
    """A branch below five short nodes of its path reads them as one tile, and writes its result directly."""
    forest = Forest(reference, kv_heads=1, head_dim=2, seed=0)
    for number in range(5):
        forest.add(20, first_slot=number, parent=number - 1 if number else None)
    plan = forest.plan([Query(4, 20, 1)])
    assert len(plan.items) == 5
    (tile,) = tiles_of(cut(plan, PAGE_SIZE, 7, Tiling((2, 4), 200)))
    assert tile == Tile(first=0, position=0, length=100, first_row=0, rows=1, partial=-1)


def test_a_long_run_keeps_all_workers_busy() -> None:
    forest = Forest(reference, kv_heads=1, head_dim=2, seed=0, pages=600)
    forest.add(9000, first_slot=0)
    plan = forest.plan([Query(0, 9000, 3)])
    for workers, most in ((1, 9024), (4, 2304), (50, 192), (1000, 128)):
        tiles = tiles_of(cut(plan, PAGE_SIZE, 7, Tiling((4,), workers)))
        assert max(tile.length for tile in tiles) <= most
        assert len(tiles) >= min(workers, 9000 // 192)


def test_tiles_of_the_same_tokens_are_neighbours() -> None:
    """So that the second tile finds the tokens in the cache."""
    forest = Forest(reference, kv_heads=1, head_dim=2, seed=0, pages=104)
    forest.add(1024, first_slot=0)
    for _ in range(40):
        forest.add(1, first_slot=0, parent=0)
    plan = forest.plan([Query(number, 1, 1) for number in range(1, 41)])
    tiles = [tile for tile in tiles_of(cut(plan, PAGE_SIZE, 7, Tiling((18,), 24))) if tile.length > 1]
    assert [tile.rows for tile in tiles] == [18, 18, 4] * (len(tiles) // 3)
    assert [tile.first for tile in tiles] == [
        first for first in sorted({tile.first for tile in tiles}) for _ in range(3)
    ]


def test_rows_of_a_tile_follow_where_the_tokens_are() -> None:
    """Many rows where most tokens are shared, few where most are not."""
    tiling = Tiling((2, 4, 9, 18), 100)
    for shared, own, rows in ((4000, 5, 18), (5, 200, 2)):
        forest = Forest(reference, kv_heads=1, head_dim=2, seed=0, pages=1000)
        forest.add(shared, first_slot=0)
        for _ in range(36):
            forest.add(own, first_slot=0, parent=0)
        plan = forest.plan([Query(number, own, 1) for number in range(1, 37)])
        assert cut(plan, PAGE_SIZE, 7, tiling).rows == rows


def test_a_plan_without_rows() -> None:
    empty = torch.zeros(0, dtype=torch.int32)
    tiles = cut(Plan(empty, empty.reshape(0, 6), empty), PAGE_SIZE, 7, Tiling((2, 4), 10))
    assert [len(table) for table in tiles[1:]] == [0, 0, 0, 0, 1]
