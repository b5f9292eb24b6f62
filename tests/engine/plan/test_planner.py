"""The rows and the plan of a step against the paths of its readers."""

from __future__ import annotations

from random import Random

import pytest
import torch
from marcot.engine.kv.node import KVNode
from marcot.engine.kv.tree import KVTree
from marcot.engine.plan.planner import ItemPlanner, Reader, depth_first, make_plan
from marcot.engine.scheduler.request import Prefill
from marcot.engine.usage import Usage
from marcot.kernels import WorkItem
from support.searches.reading_history import Growing

PAGE_SIZE = 16


def random_tree(random: Random, nodes: int) -> list[KVNode]:
    """Nodes below one root, all cached, some of them split in the middle of a page."""
    tree = KVTree(pages=4096)
    made: list[KVNode] = []
    for _ in range(nodes):
        parent = random.choice([tree.root, *made[-5:]])
        node = tree.insert(parent, [random.randrange(50_000) for _ in range(random.choice([1, 5, 16, 33, 70]))])
        tree.pin(node)
        for part in node.path():
            assert tree.reserve(part, len(part.tokens))
            part.computed = len(part.tokens)
        made.append(node)
        if random.random() < 0.3 and len(node.tokens) > 1:
            made.append(tree.ancestor_at(node, node.start + random.randrange(1, len(node.tokens))))
    tree.check_integrity()
    return made


def some_readers(random: Random, nodes: list[KVNode]) -> list[Reader]:
    """Rows that write at the end of leaves, and rows that compute the last token of an inner node again."""
    readers = []
    for node in random.sample(nodes, random.randint(1, len(nodes))):
        request, tokens = Prefill(node, Usage()), len(node.tokens)
        if node.childless:
            rows = random.randint(1, tokens)
            node.computed -= rows
            readers.append(Reader(request, node, node.computed, rows))
        else:
            readers.append(Reader(request, node, tokens - 1, 1, writes=False))
    return readers


@pytest.mark.parametrize("seed", range(30))
def test_items_give_every_row_its_path_once(seed: int) -> None:
    random = Random(seed)
    given = some_readers(random, random_tree(random, random.randint(1, 30)))
    readers = depth_first(given)
    assert sorted(map(id, given)) == sorted(map(id, readers))
    plan = make_plan(readers)
    assert {tensor.dtype for tensor in plan[:3]} == {torch.int32}
    items, pages = [WorkItem(*item) for item in plan.items.tolist()], plan.pages.tolist()
    assert len(items) == len({node for reader in readers for node in reader.leaf.path()}), "a shared run is one item"

    row = 0
    for reader in readers:
        cached: dict[int, int] = {}
        for node in reader.leaf.path():
            tokens = reader.first + reader.rows if node is reader.leaf else len(node.tokens)
            cached.update(enumerate(node.slots(0, tokens), start=node.start))
        for i in range(reader.rows):
            assert plan.positions[row] == reader.leaf.start + reader.first + i
            seen: dict[int, int] = {}
            for item in items:
                if not item.first_row <= row < item.first_row + item.rows:
                    continue
                for j in range(item.length):
                    page, slot = divmod(item.first_slot + j, PAGE_SIZE)
                    assert item.position + j not in seen
                    seen[item.position + j] = pages[item.first_page + page] * PAGE_SIZE + slot
            assert seen == cached
            row += 1
    assert row == len(plan.positions)


def test_branches_that_decode_have_room_as_far_as_their_pages_go() -> None:
    tree = KVTree(pages=8)
    fork = tree.insert(tree.root, list(range(20)))
    tree.pin(fork)
    assert tree.reserve(fork, 20)
    fork.computed = 20
    readers = []
    for pages in (1, 2):
        leaf = tree.fork(fork)
        tree.pin(leaf)
        leaf.tokens += range(7)
        leaf.computed = 6
        assert tree.reserve(leaf, pages * PAGE_SIZE)
        readers.append(Reader(Growing(leaf), leaf, 6, 1))
    readers.append(Reader(Prefill(fork, Usage()), fork, 19, 1, writes=False))
    for room, lengths in ((1, [20, 7, 7]), (4, [20, 10, 10]), (12, [20, 16, 18])):
        _, plan = ItemPlanner().plan(readers, room)
        items = sorted((WorkItem(*item) for item in plan.items.tolist()), key=lambda item: (item.position, item.length))
        assert [item.length for item in items] == lengths
        assert sorted(plan.positions.tolist()) == [19, 26, 26]


def test_long_runs_are_cut() -> None:
    tree = KVTree(pages=512)
    node = tree.insert(tree.root, list(range(5000)))
    tree.pin(node)
    assert tree.reserve(node, 5000)
    plan = make_plan([Reader(Prefill(node, Usage()), node, 0, 5000)])
    items = [WorkItem(*item) for item in plan.items.tolist()]
    assert [item.length for item in items] == [2048, 2048, 904]
    assert [item.position for item in items] == [0, 2048, 4096]
    assert all((item.first_row, item.rows) == (0, 5000) for item in items)
