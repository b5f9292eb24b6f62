"""Trees in whole pages."""

from __future__ import annotations

import pytest
from marcot.model import PAGE_SIZE

from bench.gpu.trees import PagedTree, fan, layered, measured_trees, recorded


@pytest.mark.parametrize(
    "tree", [fan(1), fan(5), *recorded(), layered((1, 3, 7), (32, 16, 48))], ids=lambda tree: tree.name
)
def test_every_leaf_has_its_path_in_pages_of_its_own(tree: PagedTree) -> None:
    assert all(tokens % PAGE_SIZE == 0 for tokens in tree.tokens)
    numbers = range(len(tree.parents))
    assert [page for node in numbers for page in tree.pages_of(node)] == list(range(tree.pages))
    leaves = [chain[-1] for chain in tree.chains]
    assert sorted(leaves) == [node for node in numbers if node not in tree.parents]
    for chain in tree.chains:
        assert [tree.parents[node] for node in chain] == [None, *chain[:-1]]
    assert tree.seen == PAGE_SIZE * sum(len(tree.pages_of(node)) for chain in tree.chains for node in chain)


def test_leaves_below_one_node_are_neighbours() -> None:
    tree = PagedTree("two families", [None, 0, 0, 1, 2, 1, 2], [PAGE_SIZE] * 7)
    assert tree.chains == [[0, 1, 3], [0, 1, 5], [0, 2, 4], [0, 2, 6]]


def test_layers_are_shared_out_evenly() -> None:
    tree = layered((1, 2, 5), (32, 16, 48))
    assert tree.parents == [None, 0, 0, 1, 1, 1, 2, 2]
    assert tree.tokens == [32, 16, 16, 48, 48, 48, 48, 48]
    assert tree.name == "1-2-5 of 32-16-48"


def test_what_is_measured() -> None:
    names = [tree.name for tree in measured_trees()]
    assert len(set(names)) == len(names) >= 14
