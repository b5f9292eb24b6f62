"""The tree that the planner is timed on, what happens to it, and what is made of the times."""

from __future__ import annotations

from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest
from marcot.engine.kv_node import KVNode

from bench.attention import planner_cost
from bench.attention.growing_tree import ALL_FORK, CHANGES, HALF_FORK, NOTHING, GrowingTree
from bench.attention.planner_cost import Timing, missed, plot

CHANGE = {change.name: change for change in CHANGES}


def tree_of(nodes: int = 400, branches: int = 80) -> GrowingTree:
    return GrowingTree(nodes, branches, Random(3))


def test_the_tree_is_as_large_as_it_says() -> None:
    tree = tree_of()
    assert len(tree.branches) == 80
    assert 400 <= tree.nodes <= 401
    nodes: set[KVNode] = {node for branch in tree.branches for node in (*branch.path(), branch)}
    assert len(nodes) + 1 == tree.nodes, "with the root"
    assert all(len(reader.leaf.tokens) == 1 and reader.rows == 1 for reader in tree.readers())


@pytest.mark.parametrize(
    ("name", "count", "new"),
    [
        ("nothing", 80, 0),
        ("one forks, one ends", 80, 2),
        ("all go on", 80, 80),
        ("half fork, half end", 80, 80),
        ("all fork", 160, 160),
        ("all fork, to twice as many", 160, 160),
    ],
)
def test_what_happens_between_two_steps(name: str, count: int, new: int) -> None:
    tree = tree_of()
    tree.draw()
    before = set(tree.branches)
    CHANGE[name].happen(tree)
    assert len(tree.branches) == len(set(tree.branches)) == count
    assert sum(branch not in before for branch in tree.branches) == new
    for branch in tree.branches:
        assert branch.pages
        assert branch.computed == len(branch.tokens) - 1
        assert all(part.computed == len(part.tokens) for part in branch.path()[:-1])


def test_every_change_is_planned() -> None:
    for change in CHANGES:
        timing = planner_cost.measure(100, change, rounds=1)
        assert timing.change == change.name
        assert 0 < timing.median_ms <= timing.slowest_ms


def timings(*milliseconds: float) -> list[Timing]:
    return [
        Timing(nodes, nodes // 5, change.name, value, value)
        for change in CHANGES
        for nodes, value in zip((5000, 20_000), milliseconds, strict=True)
    ]


def test_bars() -> None:
    assert missed(timings(0.9, 3.6)) == []
    assert [line.split(":")[0] for line in missed(timings(1.1, 4.4))] == [NOTHING.name]
    assert [line.split(":")[0] for line in missed(timings(5.1, 20))] == [NOTHING.name, HALF_FORK.name, ALL_FORK.name]
    assert all("per node" in line for line in missed(timings(0.9, 8.0)))
    assert len(missed(timings(0.9, 8.0))) == 3


def test_the_plot_is_written(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    plot(timings(1, 4), path)
    texts = {element.text for element in ElementTree.parse(path).iter() if element.tag.endswith("}text")}
    assert {change.name for change in CHANGES} <= texts
    first = path.read_bytes()
    plot(timings(1, 4), path)
    assert path.read_bytes() == first
