"""Trees in whole pages."""

from __future__ import annotations

import pytest
from marcot.model import PAGE_SIZE

from bench.gpu.trees import PagedTree, fan, recorded


@pytest.mark.parametrize("tree", [fan(1), fan(5), *recorded()], ids=lambda tree: tree.name)
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
