"""Nodes that a search or a call has forgotten to release."""

from __future__ import annotations

import gc

from marcot.engine import Engine, Node
from marcot.engine.kv.node import KVNode


def held_nodes(engine: Engine) -> int:
    """Nodes of `engine` that are alive and were not released."""
    gc.collect()
    nodes = (each for each in gc.get_objects() if type(each) is Node)
    return sum(node._tree is engine.tree and node._finalizer.alive for node in nodes)


def check_nothing_is_left(engine: Engine) -> None:
    """Check that every living node is in the tree, every node of the tree has pages, and nothing waits or is held."""
    engine.tree.check_integrity()
    assert held_nodes(engine) == 0
    roots = engine.tree.roots
    in_tree = [*roots, *engine.tree.nodes()]
    alive = [each for each in gc.get_objects() if type(each) is KVNode and _root_of(each) in roots]
    assert len(alive) == len(in_tree)
    assert all(node.pages for node in in_tree[len(roots) :])
    assert engine._scheduler.idle
    for queue in engine.tree._queues:
        assert len(queue._heap) <= 2 * len(in_tree) + 64


def _root_of(node: KVNode) -> KVNode:
    while node.parent is not None:
        node = node.parent
    return node
