"""The order in which nodes lose their pages."""

from __future__ import annotations

import heapq

from .node import KVNode

_SLACK = 64
"""Stale entries that a queue always tolerates, so that a small queue is not cleaned up all the time."""


class EvictionQueue:
    """A priority queue of nodes, least recently used first.

    A node that leaves the tree must be removed from the queue too, or it would stay in memory. Every operation takes
    amortised `O(log n)`.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._nodes: dict[int, KVNode] = {}
        self._heap: list[tuple[int, int]] = []  # tick and serial, also of removed nodes

    def __contains__(self, node: KVNode) -> bool:
        """Whether `node` is queued."""
        return node.serial in self._nodes

    def push(self, node: KVNode) -> None:
        """Add `node` at the place given by its last use; a node that is already queued keeps its place."""
        if node.serial not in self._nodes:
            self._nodes[node.serial] = node
            heapq.heappush(self._heap, (node.last_used, node.serial))

    def pop(self) -> tuple[KVNode, int] | None:
        """Remove the first node and return it with the tick it was queued under; None if the queue is empty."""
        while self._heap:
            tick, serial = heapq.heappop(self._heap)
            node = self._nodes.pop(serial, None)
            if node is not None:
                return node, tick
        return None

    def remove(self, node: KVNode) -> None:
        """Remove `node`, which will not be pushed again."""
        if self._nodes.pop(node.serial, None) is not None and len(self._heap) > 2 * len(self._nodes) + _SLACK:
            self._heap = [entry for entry in self._heap if entry[1] in self._nodes]
            heapq.heapify(self._heap)
