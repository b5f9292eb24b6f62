"""Builds a KV tree of a given shape."""

from __future__ import annotations

from collections.abc import Sequence

from marcot.engine.kv.node import KVNode
from marcot.engine.kv.tree import KVTree
from marcot.model import PAGE_SIZE


def cached_tree(parents: Sequence[int | None], tokens: Sequence[int]) -> list[KVNode]:
    """Return the nodes of a new KV tree that holds nothing else; all their tokens count as computed.

    Args:
        parents: Parent of each node, as an index of an earlier node; None for the root.
        tokens: Number of tokens of each node.
    """
    cache = KVTree(sum(-(-count // PAGE_SIZE) for count in tokens))
    nodes: list[KVNode] = []
    for number, (parent, count) in enumerate(zip(parents, tokens, strict=True)):
        node = cache.insert(cache.root if parent is None else nodes[parent], [number] * count)
        cache.pin(node)
        assert cache.reserve(node, count)
        node.count_computed(count)
        nodes.append(node)
    return nodes
