"""Plans in tiles against what every reader's path says, against plans from scratch, and against all possible merges."""

from __future__ import annotations

import math
from itertools import pairwise, product
from random import Random

import numpy as np
import pytest
import torch
from marcot.engine.job import Prefill
from marcot.engine.kv_node import KVNode
from marcot.engine.kv_tree import KVTree
from marcot.engine.native_forest import NativeForest
from marcot.engine.plain_forest import PlainForest
from marcot.engine.planner import Reader
from marcot.engine.stem import Stem, Twig
from marcot.engine.tile_balance import even_cost, last_end, least_end, longest_pieces, piece_costs
from marcot.engine.tile_cost import L2_SHARE, TileCost, tile_cost
from marcot.engine.tile_cutting import Runs
from marcot.engine.tile_merging import solve
from marcot.engine.tile_planner import CHUNK, TilePlanner
from marcot.engine.usage import Usage
from marcot.kernels import Plan, Tile, Tiling
from reading_history import ReadingHistory

_WIDTH = Tile._fields.index("width")
QWEN = {"group": 7, "head_dim": 128, "value_bytes": 2}


def planner(
    rows: tuple[int, ...] = (2, 4, 9, 18), workers: int = 66, *, deterministic: bool = False, native: bool = True
) -> TilePlanner:
    return TilePlanner(Tiling(rows, workers), **QWEN, deterministic=deterministic, native=native)


def seen_by(row: int, tile: Tile, plan: Plan, slots: list[int]) -> dict[int, int]:
    """The slot of every position that a row sees in a tile."""
    assert plan.tiles is not None
    begin, first, places = tile.position, tile.first, tile.length
    if tile.width:
        begin, places = int(plan.tiles.tails[row]), tile.width
        first += (row - tile.first_row) * tile.width
    count = min(places, int(plan.positions[row]) + 1 - begin)
    return {begin + j: slots[first + j] for j in range(count)}


def check(readers: list[Reader], plan: Plan) -> None:
    """Every row reads its path once, in the right slots, and its partial results are merged in order."""
    assert plan.tiles is not None
    tiles = [Tile._make(tile) for tile in plan.tiles.tiles.tolist()]
    slots, partials, merges = (table.tolist() for table in (plan.tiles.slots, plan.tiles.partials, plan.tiles.merges))
    assert all(a.length >= b.length - 64 for a, b in pairwise(tiles)), (
        "long ones first, apart from what they have grown"
    )
    assert all(tile.length > 0 and 1 <= tile.rows <= plan.tiles.rows for tile in tiles)
    for tile in tiles:
        if tile.width:
            rows = range(tile.first_row, tile.first_row + tile.rows)
            assert tile.rows > 1
            assert tile.length == tile.rows * tile.width
            assert tile.width & tile.width - 1 == 0
            assert tile.position == max(plan.tiles.tails[row] for row in rows)
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
        path: dict[int, int] = {}
        for node in reader.leaf.path():
            count = reader.first + reader.rows if node is reader.leaf else len(node.tokens)
            path.update(enumerate(node.slots(0, count), start=node.start))
        for i in range(reader.rows):
            position = reader.leaf.start + reader.first + i
            assert plan.positions[row] == position
            seen = [entry for tile in by_row[row] for entry in seen_by(row, tile, plan, slots).items()]
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


# --- the least cost ---------------------------------------------------------------------------------------------------


class _Rows:
    """All that the programme looks at of a reader."""

    def __init__(self, rows: int) -> None:
        self.rows = rows


def random_stems(random: Random, widest: int) -> Stem:
    """A small tree of stems in which rows end everywhere."""
    budget = [8]

    def grow(stem: Stem, depth: int) -> None:
        for _ in range(random.choice([0, 1, 2, widest]) if depth < 3 else 0):
            if budget[0]:
                budget[0] -= 1
                length = random.choice([1, 2, 5, 10, 20, 40, 80])
                upper = Stem(stem, None, stem.start + stem.length, np.empty(length, np.int32))  # type: ignore[arg-type]
                stem.stems[upper] = None
                grow(upper, depth + 1)
        twigs = random.choice([0, 1, 2, 3])
        if depth and (random.random() < 0.3 or not (stem.stems or twigs)):
            stem.own_rows = random.choice([1, 1, 2, 5])
        for _ in range(twigs):
            stem.twigs[Twig(stem, None, 0, 0, np.empty(1, np.int32))] = None  # type: ignore[arg-type]
        stem.rows = len(stem.twigs) + stem.own_rows + sum(upper.rows for upper in stem.stems)

    root = Stem(None, None, 0, np.empty(0, np.int32))  # type: ignore[arg-type]
    grow(root, 0)
    return root


def least_of_all(stem: Stem, carried: int, cost: TileCost) -> float:
    """The least cost over every choice of who joins, each tile priced as `TileCost` says in words."""

    def read(tokens: int, rows: int, partial: bool) -> float:
        tiles = math.ceil(rows / cost.block)
        return cost.token * tokens * (1 + L2_SHARE * (tiles - 1)) + cost.tile * tiles + cost.partial * rows * partial

    def above(upper: Stem | Twig, along: int) -> float:
        if isinstance(upper, Stem):
            return least_of_all(upper, along, cost)
        return cost.token * along + cost.tile + cost.partial * (along < stem.start + stem.length)

    tokens = carried + stem.length
    uppers = [*stem.twigs, *stem.stems]
    if not tokens:
        return sum(above(upper, 0) for upper in uppers)
    least = math.inf
    for joins in product([False, True], repeat=len(uppers)):
        rows = stem.own_rows + sum(getattr(u, "rows", 1) for u, joined in zip(uppers, joins, strict=True) if joined)
        total = sum(above(u, 0 if joined else tokens) for u, joined in zip(uppers, joins, strict=True))
        if rows:
            total += read(tokens, rows, carried < stem.start or any(joins))
        least = min(least, total)
    return least


@pytest.mark.parametrize("widest", [3, 8])
def test_the_least_cost_is_that_of_all_choices(widest: int) -> None:
    for seed in range(200):
        random = Random(seed)
        root = random_stems(random, widest)
        token = random.choice([1, 512])
        partial, tile = token * random.choice([0, 0.5, 7, 14]), token * random.choice([0, 5, 16, 48])
        cost = TileCost(token, partial, tile, 0.0, random.choice([1, 2, 3, 9]))
        assert solve(root, cost) == pytest.approx(least_of_all(root, 0, cost)), f"seed {seed}"


# --- plans ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("native", [False, True], ids=["python", "c++"])
@pytest.mark.parametrize("deterministic", [False, True], ids=["cheapest", "deterministic"])
@pytest.mark.parametrize("seed", range(9))
def test_random_histories(seed: int, deterministic: bool, native: bool) -> None:
    """Whatever was read before, a plan is right, and costs what it would cost from scratch."""
    history = ReadingHistory(seed, pages=(600, 60, 2000)[seed % 3])
    rows, workers = ((4,), (2, 4, 9, 18), (1,))[seed % 3], (66, 3)[seed % 2]
    lasting = planner(rows, workers, deterministic=deterministic, native=native)
    assert isinstance(lasting._forest, NativeForest if native else PlainForest)
    history.prompt(history.random.choice([3, 100, 500]))
    extended = 0
    for step in range(60):
        for _ in range(history.random.choice([0, 0, 0, 1, 2])):
            history.event()
        given = history.readers()
        if not given:
            continue
        calm = lasting._calm
        readers, plan = lasting.plan(given)
        extended += lasting._calm == calm - 1
        assert sorted(map(id, readers)) == sorted(map(id, given))
        check(readers, plan)
        if len(rows) == 1 and not deterministic and step % 5 == 0:
            fresh = planner(rows, workers, native=False)
            check(*fresh.plan(given))
            assert lasting._forest.solve(lasting.cost) == pytest.approx(fresh._forest.solve(fresh.cost))
        history.computed(given)
    assert extended > 0
    history.tree.check_integrity()


def same(one: Plan, other: Plan) -> None:
    """Both plans have the same tables."""
    assert one.tiles is not None
    assert other.tiles is not None
    assert torch.equal(one.positions, other.positions)
    assert one.tiles.rows == other.tiles.rows
    for mine, theirs in zip(one.tiles[1:], other.tiles[1:], strict=True):
        assert mine.shape == theirs.shape
    for name in ("tails", "tiles", "partials", "merges"):
        assert torch.equal(getattr(one.tiles, name), getattr(other.tiles, name)), name


@pytest.mark.parametrize("deterministic", [False, True], ids=["cheapest", "deterministic"])
@pytest.mark.parametrize("seed", range(9, 15))
def test_the_forest_in_c_plus_plus_plans_what_the_one_in_python_plans(seed: int, deterministic: bool) -> None:
    history = ReadingHistory(seed, pages=(600, 60, 2000)[seed % 3])
    planners = [planner(deterministic=deterministic, native=native) for native in (False, True)]
    history.prompt(history.random.choice([3, 100, 500]))
    for _ in range(100):
        for _ in range(history.random.choice([0, 0, 1, 2, 9])):
            history.event()
        given = history.readers()
        if not given:
            continue
        (readers, plan), (same_readers, same_plan) = (each.plan(given) for each in planners)
        assert all(one is other for one, other in zip(readers, same_readers, strict=True))
        same(plan, same_plan)
        history.computed(given)


def test_branches_that_all_fork_at_once() -> None:
    """From 3 to 768 branches and back, every one of them new in every step."""
    tree = KVTree(pages=9000)
    nodes = branches(tree, cached(tree, 700), 3)
    planners = [planner(native=native) for native in (False, True)]
    random = Random(0)
    for wave in range(12):
        for _ in range(wave % 3 + 1):
            (readers, plan), (_, same_plan) = (each.plan(next_tokens(nodes)) for each in planners)
            same(plan, same_plan)
            check(readers, plan)
            drawn(tree, nodes)
        random.shuffle(nodes)
        kept = len(nodes) if wave < 8 else len(nodes) // 4
        for node in nodes[kept:]:
            tree.unpin(node)
            tree.discard(node)
        born = []
        for node in nodes[:kept]:
            tree.unpin(node)
            node.tokens.pop()
            tree.freeze(node)
            tree.hold(node)
            born += branches(tree, node, 2)
        nodes = born
    assert 1 <= len(nodes) < 768


def branches(tree: KVTree, fork: KVNode, count: int, own: int = 1) -> list[KVNode]:
    """Growing nodes below `fork`, of so many drawn tokens each."""
    nodes = [tree.fork(fork) for _ in range(count)]
    for node in nodes:
        tree.pin(node)
        node.tokens += [1] * own
        assert tree.reserve(node, own)
        node.computed = own - 1
    return nodes


def cached(tree: KVTree, length: int, parent: KVNode | None = None, token: int = 0) -> KVNode:
    """A computed node whose tokens are all `token`."""
    node = tree.insert(parent or tree.root, [token] * length)
    tree.pin(node)
    assert tree.reserve(node, length)
    node.computed = length
    return node


def next_tokens(nodes: list[KVNode]) -> list[Reader]:
    """Every branch reads its last token."""
    return [Reader(Prefill(node, Usage()), node, len(node.tokens) - 1, 1) for node in nodes]


def drawn(tree: KVTree, nodes: list[KVNode]) -> None:
    """The step is over, and every branch has drawn another token."""
    for node in nodes:
        node.computed += 1
        node.tokens.append(1)
        assert tree.reserve(node, len(node.tokens))


def test_a_step_that_only_appends_rebuilds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as every tail that shares a tile has places left, and else for 40 steps."""
    for own, steps in ((1, 15), (8, 8), (9, 23), (120, 8), (121, 40)):
        tree = KVTree(pages=200)
        nodes = branches(tree, cached(tree, 37), 5, own)
        lasting = planner(workers=3)
        _, first = lasting.plan(next_tokens(nodes))
        assert any(tile[_WIDTH] for tile in first.tiles.tiles.tolist()) == (own < 121)
        drawn(tree, nodes)
        with monkeypatch.context() as patch:
            patch.setattr(lasting, "_replan", None)
            for _ in range(steps):
                readers, plan = lasting.plan(next_tokens(nodes))
                assert plan is first
                check(readers, plan)
                drawn(tree, nodes)
        check(*lasting.plan(next_tokens(nodes)))


@pytest.mark.parametrize("native", [False, True], ids=["python", "c++"])
@pytest.mark.parametrize("own", [1, 2, 3, 60])
def test_branches_that_fill_their_regions(own: int, native: bool) -> None:
    """No branch writes behind its own region, however long it grows from so many tokens on."""
    tree = KVTree(pages=900)
    nodes = branches(tree, cached(tree, 300), 3, own)
    lasting = planner(native=native)
    for _ in range(200):
        readers, plan = lasting.plan(next_tokens(nodes))
        check(readers, plan)
        drawn(tree, nodes)


def test_branches_that_grow_and_multiply_beyond_every_table() -> None:
    """Tables and regions are replaced by larger ones while branches go on."""
    tree = KVTree(pages=9000)
    prompt = cached(tree, 2000)
    lasting = planner()
    nodes: list[KVNode] = []
    for wave in range(4):
        nodes += branches(tree, cached(tree, 30 + wave, prompt), 80)
        for step in range(100):
            readers, plan = lasting.plan(next_tokens(nodes))
            if step % 33 == 0:
                check(readers, plan)
            drawn(tree, nodes)
    assert plan.tiles is not None
    assert len(plan.tiles.slots) > 65_536


def test_what_is_read_together() -> None:
    """A long prefix is one run for all; short ones are taken along by their branches, whose tails share a tile."""
    tree = KVTree(pages=400)
    prompt = cached(tree, 3000)
    nodes = [node for token in range(2) for node in branches(tree, cached(tree, 3, prompt, token), 2)]
    readers, plan = planner((9,), workers=1).plan(next_tokens(nodes))
    check(readers, plan)
    assert plan.tiles is not None
    tiles = [Tile._make(tile) for tile in plan.tiles.tiles.tolist()]
    assert [(tile.position, tile.length, tile.rows, tile.width) for tile in tiles] == [
        (0, 3000, 4, 0),
        (3000, 64, 4, 16),
    ]
    assert plan.tiles.tails.tolist() == [3000] * 4


# --- deterministic ----------------------------------------------------------------------------------------------------


def tiles_of(readers: list[Reader], plan: Plan) -> dict[KVNode, list[list[tuple[int, int]]]]:
    """Position and visible length of the tiles of each row, by leaf."""
    assert plan.tiles is not None
    tiles = [Tile._make(tile) for tile in plan.tiles.tiles.tolist()]
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
    history = ReadingHistory(seed, pages=1000)
    history.prompt(700)
    lasting = planner(deterministic=True)
    for _ in range(50):
        for _ in range(history.random.choice([0, 1, 2])):
            history.event()
        given = history.readers()
        if not given:
            continue
        readers, plan = lasting.plan(given)
        together = tiles_of(readers, plan)
        for reader in history.random.sample(given, min(3, len(given))):
            alone = tiles_of(*planner(deterministic=True).plan([reader]))
            assert together[reader.leaf] == alone[reader.leaf]
            ends = [reader.leaf.start + reader.first + i + 1 for i in range(reader.rows)]
            assert alone[reader.leaf] == [
                [(begin, min(CHUNK, end - begin)) for begin in range(0, end, CHUNK)] for end in ends
            ]
        history.computed(given)


# --- balance ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [16, 66, 132])
def test_tiles_keep_all_workers_busy(workers: int) -> None:
    """Few runs of any length behind a shared one, as searches have them: the last worker ends near the earliest end."""
    cost = tile_cost(**QWEN, block=9)
    for seed in range(40):
        random = Random(seed)
        rows = random.randint(8, 60)
        lengths = [random.randint(100, 1500) for _ in range(rows)] + [random.randint(500, 8000)]
        first_row = np.array([*range(rows), 0])
        none = np.zeros(rows + 1, np.int64)
        runs = Runs(none, none, np.array(lengths), first_row, np.array([1] * rows + [rows]))
        most, end = even_cost(runs, cost, workers)
        costs = piece_costs(runs, cost, longest_pieces(runs, cost, most))
        assert end == last_end(costs, workers) >= costs.sum() / workers * (1 - 1e-9)
        least = least_end(runs, cost, workers)
        assert 0.999 * least <= end <= 1.15 * least, f"seed {seed}"
