"""The order in which nodes lose their pages."""

from __future__ import annotations

import heapq

from .node import KVNode

_SLACK = 64
"""Entries of nodes that are gone which a queue keeps in any case, so that a small one is not cleared all the time."""


class EvictionQueue:
    """Nodes by their last use. Whoever removes a node from the tree removes it here too, or it would live on.

    Every operation takes `O(log n)`, counting each clearance for the removals that made it necessary.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._nodes: dict[int, KVNode] = {}
        self._heap: list[tuple[int, int]] = []  # tick and serial, of nodes that are gone as well

    def __contains__(self, node: KVNode) -> bool:
        """Whether `node` waits here."""
        return node.serial in self._nodes

    def push(self, node: KVNode) -> None:
        """Let `node` wait, at the place of its last use; if it waits already, it keeps its place."""
        if node.serial not in self._nodes:
            self._nodes[node.serial] = node
            heapq.heappush(self._heap, (node.last_used, node.serial))

    def pop(self) -> tuple[KVNode, int] | None:
        """Take out the node that comes first, with the tick that it was filed under; None if nothing waits."""
        while self._heap:
            tick, serial = heapq.heappop(self._heap)
            node = self._nodes.pop(serial, None)
            if node is not None:
                return node, tick
        return None

    def remove(self, node: KVNode) -> None:
        """Forget `node`, which will not be pushed again."""
        if self._nodes.pop(node.serial, None) is not None and len(self._heap) > 2 * len(self._nodes) + _SLACK:
            self._heap = [entry for entry in self._heap if entry[1] in self._nodes]
            heapq.heapify(self._heap)
