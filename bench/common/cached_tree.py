"""A tree of given sizes in a KV cache of its own."""

from __future__ import annotations

from collections.abc import Sequence

from marcot.engine.kv.node import KVNode
from marcot.engine.kv.tree import KVTree
from marcot.model import PAGE_SIZE


def cached_tree(parents: Sequence[int | None], tokens: Sequence[int]) -> list[KVNode]:
    """The nodes in a cache that holds them and nothing else, all computed.

    Args:
        parents: Of each node, an earlier one; None for the root.
        tokens: Of each node.
    """
    cache = KVTree(sum(-(-count // PAGE_SIZE) for count in tokens))
    nodes: list[KVNode] = []
    for number, (parent, count) in enumerate(zip(parents, tokens, strict=True)):
        node = cache.insert(cache.root if parent is None else nodes[parent], [number] * count)
        cache.pin(node)
        assert cache.reserve(node, count)
        node.computed = count
        nodes.append(node)
    return nodes
