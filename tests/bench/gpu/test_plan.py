"""The engine's plan of a tree in pages, for GPU benchmarks."""

from __future__ import annotations

import pytest
import torch
from marcot.kernels import Tile, Tiling, WorkItem
from marcot.model import PAGE_SIZE

from bench.gpu.plan import engine_plan
from bench.gpu.trees import PagedTree, fan, recorded

CPU = torch.device("cpu")


@pytest.mark.parametrize("tiling", [None, Tiling((2, 4, 9), 66)], ids=["items", "tiles"])
@pytest.mark.parametrize("tree", [fan(1), fan(5), recorded()[0]], ids=lambda tree: tree.name)
def test_every_row_reads_its_path_in_the_pages_of_the_tree(tree: PagedTree, tiling: Tiling | None) -> None:
    plan, leaves = engine_plan(tree, tiling, 7, 128, CPU)
    chains = tree.chains
    assert sorted(leaves.tolist()) == list(range(len(chains)))
    read: list[dict[int, int]] = [{} for _ in chains]
    if plan.tiles is not None:
        for tile in map(Tile._make, plan.tiles.tiles.tolist()):
            slots = plan.tiles.slots[tile.first : tile.first + tile.length].tolist()
            for row in range(tile.first_row, tile.first_row + tile.rows if tile.length else 0):
                position, mine = tile.position, slots
                if tile.width:
                    position, mine = (
                        int(plan.tiles.tails[row]),
                        slots[: plan.positions[row] + 1 - plan.tiles.tails[row]],
                    )
                    slots = slots[tile.width :]
                read[row] |= {position + i: slot for i, slot in enumerate(mine)}
    else:
        for item in map(WorkItem._make, plan.items.tolist()):
            pages = plan.pages[item.first_page :].tolist()
            for row in range(item.first_row, item.first_row + item.rows):
                at = range(item.first_slot, item.first_slot + item.length)
                read[row] |= {
                    item.position + i: pages[slot // PAGE_SIZE] * PAGE_SIZE + slot % PAGE_SIZE
                    for i, slot in enumerate(at)
                }
    for row, leaf in enumerate(leaves.tolist()):
        pages = [page for node in chains[leaf] for page in tree.pages_of(node)]
        expected = [page * PAGE_SIZE + slot for page in pages for slot in range(PAGE_SIZE)]
        assert plan.positions[row] == len(expected) - 1
        assert read[row] == dict(enumerate(expected))
