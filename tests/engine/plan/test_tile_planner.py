"""Plans in tiles against the paths of their readers, and the costs by which they are chosen against the tables."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine.kv.node import KVNode
from marcot.engine.kv.tree import KVTree
from marcot.engine.plan.planner import Reader
from marcot.engine.plan.read_tree import read_tree
from marcot.engine.plan.tile_planner import TilePlanner
from marcot.kernels import Plan, Tile, Tiling
from marcot.kernels.plan.tile_choice import choose
from marcot.kernels.plan.tile_cost import BLOCK_TOKENS, modelled_us, tile_cost, work_of
from marcot.kernels.plan.tiler import CHUNK
from support.searches.reading_history import Growing, ReadingHistory

ROOM = 16


def planner(
    rows: tuple[int, ...] = (2, 4, 9, 18), workers: int = 66, *, head_dim: int = 128, deterministic: bool = False
) -> TilePlanner:
    return TilePlanner(Tiling(rows, workers), 7, head_dim, deterministic=deterministic)


def tiles_of(plan: Plan) -> list[Tile]:
    assert plan.tiles is not None
    return [Tile._make(tile) for tile in plan.tiles.tiles.tolist()]


def seen_by(row: int, position: int, tile: Tile, plan: Plan, slots: list[int]) -> dict[int, int]:
    """The slot of every position in a tile that a row at `position` sees."""
    assert plan.tiles is not None
    begin, first, places = tile.position, tile.first, tile.length
    if tile.width:
        begin, places = int(plan.tiles.tails[row]), tile.width
        first += (row - tile.first_row) * tile.width
    count = min(places, position + 1 - begin)
    return {begin + j: slots[first + j] for j in range(count)}


def check(readers: list[Reader], plan: Plan, room: int = 1) -> None:
    """At every step of a round, every row reads its path exactly once, and its partial results are merged in order."""
    assert plan.tiles is not None
    tiles = tiles_of(plan)
    slots, partials, merges = (table.tolist() for table in (plan.tiles.slots, plan.tiles.partials, plan.tiles.merges))
    assert all(one.length >= other.length for one, other in pairwise(tiles)), "long ones first"
    assert all(tile.length > 0 and 1 <= tile.rows <= plan.tiles.rows for tile in tiles)
    for tile in tiles:
        if tile.width:
            assert tile.length == tile.rows * tile.width
            assert tile.width & tile.width - 1 == 0
            assert tile.position == plan.tiles.tails[tile.first_row : tile.first_row + tile.rows].max()
    results = {
        tile.partial + i: (tile.first_row + i, tile.position)
        for tile in tiles
        if tile.partial >= 0
        for i in range(tile.rows)
    }
    assert sorted(results) == list(range(len(partials))) == sorted(partials)
    by_row: dict[int, list[Tile]] = {}
    for tile in tiles:
        for row in range(tile.first_row, tile.first_row + tile.rows):
            by_row.setdefault(row, []).append(tile)
    row = 0
    for reader in readers:
        more = reader.room(room)
        assert 0 <= more < room
        path: dict[int, int] = {}
        for node in reader.leaf.path():
            count = reader.first + reader.rows + more if node is reader.leaf else len(node.tokens)
            path.update(enumerate(node.slots(0, count), start=node.start))
        for i in range(reader.rows):
            begin = reader.leaf.start + reader.first + i
            assert plan.positions[row] == begin
            for position in range(begin, begin + more + 1):
                seen = [at for tile in by_row[row] for at in seen_by(row, position, tile, plan, slots).items()]
                assert len(seen) == position + 1
                assert dict(seen) == {p: slot for p, slot in path.items() if p <= position}
            merged = [results[partial] for partial in partials[merges[row] : merges[row + 1]]]
            whole = sum(tile.partial < 0 for tile in by_row[row])
            assert (len(merged), whole) in ((len(by_row[row]), 0), (0, 1))
            assert merged == sorted((row, tile.position) for tile in by_row[row] if tile.partial >= 0)
            for tile in by_row[row] if reader.rows == 1 else ():
                first = tile.first + (row - tile.first_row) * tile.width
                assert set(slots[first : first + (tile.width or tile.length)]) <= set(path.values())
            row += 1
    assert row == len(plan.positions) == len(merges) - 1


def cached(tree: KVTree, length: int, parent: KVNode | None = None, token: int = 0) -> KVNode:
    """A computed node whose tokens are all `token`."""
    node = tree.insert(parent or tree.root, [token] * length)
    tree.pin(node)
    assert tree.reserve(node, length)
    node.computed = length
    return node


def branches(tree: KVTree, fork: KVNode, *own: int) -> list[Reader]:
    """Branches below `fork` with these numbers of drawn tokens, and with pages for a round."""
    readers = []
    for tokens in own:
        node = tree.fork(fork)
        tree.pin(node)
        node.tokens += [1] * tokens
        assert tree.reserve(node, tokens + ROOM)
        node.computed = tokens - 1
        readers.append(Reader(Growing(node), node, tokens - 1, 1))
    return readers


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.sampled_from([(1,), (4,), (2, 4, 9, 18), (3, 6)]),
    workers=st.sampled_from([1, 3, 66, 1000]),
    deterministic=st.booleans(),
    pages=st.sampled_from([60, 600, 2000]),
)
def test_random_histories(seed: int, rows: tuple[int, ...], workers: int, deterministic: bool, pages: int) -> None:
    history = ReadingHistory(seed, pages)
    plans = planner(rows, workers, deterministic=deterministic)
    history.prompt(history.random.choice([3, 100, 500]))
    for _ in range(12):
        for _ in range(history.random.choice([1, 2, 5])):
            history.event()
        room = history.random.choice([1, 2, ROOM])
        given = history.readers(room)
        if given:
            readers, plan = plans.plan(given, room)
            assert sorted(map(id, readers)) == sorted(map(id, given))
            check(readers, plan, room)
            history.computed(given)
    history.tree.check_integrity()


@pytest.mark.parametrize("depth", [1, 40])
def test_the_readers_of_a_node_may_end_in_it(depth: int) -> None:
    """Rows that end in inner nodes, twice in one of them, between rows that continue leaves."""
    tree = KVTree(pages=800)
    node, given = cached(tree, 300), []
    for level in range(depth):
        node = cached(tree, 7, node, level)
        given += [Reader(Growing(node), node, 6, 1, writes=False), *branches(tree, node, 3, 5)]
        given.append(Reader(Growing(node), node, 6, 1, writes=False))
    Random(depth).shuffle(given)
    for deterministic in (False, True):
        check(*planner(deterministic=deterministic).plan(given))


# --- what is chosen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_the_modelled_time_is_that_of_the_tables(seed: int) -> None:
    history = ReadingHistory(seed, pages=3000)
    tree = history.tree
    nodes = [cached(tree, 400)]
    for number in range(history.random.choice([3, 30])):
        nodes.append(cached(tree, history.random.choice([5, 60, 700]), history.random.choice(nodes), number))
    given = [
        r for node in history.random.choices(nodes, k=40) for r in branches(tree, node, history.random.randint(1, 150))
    ]
    tiling = Tiling((2, 4, 9, 18), (3, 66, 132)[seed % 3])
    costs = [tile_cost(tiling.workers, rows, 7, 128) for rows in tiling.rows]
    _, read = read_tree(given, ROOM)
    choice = choose(read.segments, costs, len(given))
    _, plan = planner(tiling.rows, tiling.workers).plan(given, ROOM)
    assert plan.tiles is not None
    assert plan.tiles.rows == choice.cost.rows
    tokens = len({slot for reader in given for node in reader.leaf.path() for slot in node.slots(0, len(node.tokens))})
    assert int(read.segments.length.sum()) == tokens + (ROOM - 1) * len(given)
    assert choice.us == modelled_us(choice.cost, work_of(plan.tiles, int(read.segments.length.sum())))


def test_a_prefix_is_read_once_and_short_suffixes_share_a_tile() -> None:
    tree = KVTree(pages=400)
    given = branches(tree, cached(tree, 300), 3, 1, 12, 16)
    readers, plan = planner((9,), workers=1).plan(given)
    check(readers, plan)
    assert [(tile.position, tile.length, tile.rows, tile.width) for tile in tiles_of(plan)] == [
        (0, 300, 4, 0),
        (300, 64, 4, 16),
    ]
    assert plan.tiles is not None
    assert plan.tiles.tails.tolist() == [300] * 4


def test_suffixes_have_room_for_a_round() -> None:
    tree = KVTree(pages=400)
    given = branches(tree, cached(tree, 300), 3, 1, 12, 16)
    readers, plan = planner((9,), workers=1).plan(given, ROOM)
    check(readers, plan, ROOM)
    assert {tile.width for tile in tiles_of(plan)} == {0, 32}


def test_short_shared_segments_are_read_with_what_goes_on_from_them() -> None:
    """A few tokens do not get a tile of their own; a single tile for a whole path leaves nothing to merge."""
    tree = KVTree(pages=400)
    fork = cached(tree, 2, cached(tree, 2, cached(tree, 2)))
    given = branches(tree, fork, 20, 30)
    readers, plan = planner(workers=1).plan(given)
    check(readers, plan)
    (tile,) = tiles_of(plan)
    assert (tile.rows, tile.width, tile.position, tile.partial) == (2, 64, 0, -1)


def test_a_long_path_is_cut_for_many_workers() -> None:
    tree = KVTree(pages=400)
    given = branches(tree, cached(tree, 5000), 1)
    longest = [max(tile.length for tile in tiles_of(planner(workers=workers).plan(given)[1])) for workers in (1, 8, 66)]
    assert longest[0] > longest[1] > longest[2] >= BLOCK_TOKENS


def tables(plan: Plan) -> list[list[int]]:
    assert plan.tiles is not None
    return [plan.tiles.rows, *(table.tolist() for table in plan.tiles[1:])]


def test_a_choice_holds_until_something_else_is_read() -> None:
    tree = KVTree(pages=900)
    few = branches(tree, cached(tree, 300), *range(10, 40))
    many = few + branches(tree, cached(tree, 900), *range(10, 100))
    kept = planner()
    first, again = kept.plan(few, ROOM), kept.plan(few, ROOM)
    assert tables(first[1]) == tables(again[1])
    check(*kept.plan(few[2:], ROOM), ROOM)
    for others in (many, few[:5], many[:1]):
        assert tables(kept.plan(others, ROOM)[1]) == tables(planner().plan(others, ROOM)[1])


def test_a_choice_is_for_a_tree_of_about_this_size() -> None:
    """However slowly the tree changes: sizes are compared with those for which the choice was made."""
    tree = KVTree(pages=900)
    readers = branches(tree, cached(tree, 300), *range(10, 50))
    steady, chosen_for, choices = planner(), 0, 0
    for count in range(len(readers), 3, -1):
        last = steady._tiler._last
        steady.plan(readers[:count], ROOM)
        if steady._tiler._last is not last:
            chosen_for, choices = count, choices + 1
        assert (chosen_for - count) * 8 <= chosen_for
    assert 8 < choices < 30


# --- deterministic ----------------------------------------------------------------------------------------------------


def split_parts(readers: list[Reader], plan: Plan) -> dict[KVNode, list[list[tuple[int, int]]]]:
    """Position and visible length of the tiles of each row, by leaf."""
    tiles = tiles_of(plan)
    found: dict[KVNode, list[list[tuple[int, int]]]] = {}
    row = 0
    for reader in readers:
        for _ in range(reader.rows):
            position = int(plan.positions[row])
            mine = [tile for tile in tiles if tile.first_row <= row < tile.first_row + tile.rows]
            assert not any(tile.width for tile in mine)
            assert all(tile.partial >= 0 for tile in mine)
            seen = sorted((tile.position, min(tile.length, position + 1 - tile.position)) for tile in mine)
            found.setdefault(reader.leaf, []).append([part for part in seen if part[1] > 0])
            row += 1
    return found


@pytest.mark.parametrize("seed", range(6))
def test_in_deterministic_mode_a_row_s_tiles_depend_on_its_path_only(seed: int) -> None:
    """Whatever else is read, and however long the round is."""
    history = ReadingHistory(seed, pages=1000)
    history.prompt(700)
    plans = planner(deterministic=True)
    for _ in range(25):
        for _ in range(history.random.choice([0, 1, 2])):
            history.event()
        given = history.readers(ROOM)
        if not given:
            continue
        together = split_parts(*plans.plan(given, history.random.choice([1, ROOM])))
        for reader in history.random.sample(given, min(3, len(given))):
            _, plan = plans.plan([reader], history.random.choice([1, ROOM]))
            assert plan.tiles is not None
            assert plan.tiles.rows == 9
            alone = split_parts([reader], plan)
            assert together[reader.leaf] == alone[reader.leaf]
            ends = [reader.leaf.start + reader.first + i + 1 for i in range(reader.rows)]
            assert alone[reader.leaf] == [
                [(begin, min(CHUNK, end - begin)) for begin in range(0, end, CHUNK)] for end in ends
            ]
        history.computed(given)
