"""The tree that the planner is timed on, and the report of its times."""

from __future__ import annotations

from random import Random

from bench.attention import planner_cost
from bench.attention.growing_tree import GrowingTree
from bench.attention.planner_cost import AT, MOST_MS, Timing, missed


def test_the_tree_is_as_large_as_it_says() -> None:
    tree = GrowingTree(400, 80, Random(3))
    assert len(set(tree.branches)) == 80
    assert 400 <= tree.nodes <= 401
    nodes = {node for branch in tree.branches for node in branch.path()}
    assert len(nodes) + 1 == tree.nodes, "with the root"
    assert sum(len(node.tokens) for node in nodes) == tree.tokens
    for reader in tree.readers():
        assert reader.room(planner_cost.ROOM) == planner_cost.ROOM - 1
        assert all(part.computed == len(part.tokens) for part in reader.leaf.path()[:-1])


def test_a_size_is_planned() -> None:
    timing = planner_cost.measure(20, rounds=2)
    assert (timing.branches, timing.nodes) == (20, 101)
    assert timing.median_ms > 0


def test_bars() -> None:
    def timings(at: float, most: float) -> list[Timing]:
        return [Timing(branches, 0, 0, ms) for branches, ms in ((AT, at), (4 * AT, most))]

    assert missed(timings(MOST_MS, 4 * MOST_MS)) == []
    assert len(missed(timings(1.1 * MOST_MS, 4 * MOST_MS))) == 1
    assert len(missed(timings(MOST_MS, 8 * MOST_MS))) == 1
