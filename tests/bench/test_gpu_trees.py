"""Trees in whole pages."""

from __future__ import annotations

import pytest
from gpu_trees import PagedTree, fan, recorded
from marcot.model import PAGE_SIZE


@pytest.mark.parametrize("tree", [fan(1), fan(5), *recorded()], ids=lambda tree: tree.name)
def test_items_give_every_leaf_its_path(tree: PagedTree) -> None:
    assert all(tokens % PAGE_SIZE == 0 for tokens in tree.tokens)
    leaves = [chain[-1] for chain in tree.chains]
    assert sorted(leaves) == [node for node in range(len(tree.parents)) if node not in tree.parents]
    for row, leaf in enumerate(leaves):
        path: list[int] = []
        node: int | None = leaf
        while node is not None:
            path = tree.pages_of(node) + path
            node = tree.parents[node]
        read = sorted(item for item in tree.items() if item.first_row <= row < item.first_row + item.rows)
        read.sort(key=lambda item: item.position)
        pages = [page for item in read for page in range(item.first_page, item.first_page + item.length // PAGE_SIZE)]
        assert pages == path
        assert tree.positions[row] == len(path) * PAGE_SIZE - 1
    assert tree.seen == sum(position + 1 for position in tree.positions)
