"""Orders the rows of a step and makes its attention plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ...kernels import Plan
from ...kernels.plan.item_table import ItemTable
from ..kv.node import KVNode
from ..scheduler.request import Request


class Reader(NamedTuple):
    """A run of query rows that ends a path: the next token of a branch, or a prefill chunk of a node.

    Attributes:
        request: The request that the rows belong to.
        leaf: The node that the rows belong to.
        first: Index in `leaf.tokens` of the first row's token.
        rows: Number of consecutive tokens.
        writes: Whether the rows' K and V are new; False runs a cached token again for its distribution.
    """

    request: Request
    leaf: KVNode
    first: int
    rows: int
    writes: bool = True

    def room(self, tokens: int) -> int:
        """How many of the next `tokens - 1` tokens after the last row already have slots in the leaf's pages.

        0 unless the row is the last token of a branch (or one that it has still to draw), so that the next token is
        drawn after it.
        """
        request, leaf, first, rows, writes = self
        if tokens <= 1 or rows != 1 or leaf is not request.node or not writes or first + 1 < len(leaf.tokens):
            return 0
        return min(tokens - 1, leaf.capacity - first - 1)


class Planner(Protocol):
    """Plans the attention of steps and rounds."""

    def plan(self, readers: Sequence[Reader], room: int = 1) -> tuple[list[Reader], Plan]:
        """Order `readers` and plan their rows. The plan is on the host and valid until the next call.

        Args:
            readers: The paths to read.
            room: Number of tokens that each decoding branch draws in the round. The plan includes their slots, as far
                as the leaf has pages for them; a row does not see a slot before its position gets there.
        """
        ...


class ItemPlanner:
    """Makes plans of work items, for op sets that read them."""

    def plan(self, readers: Sequence[Reader], room: int = 1) -> tuple[list[Reader], Plan]:
        """See `Planner.plan`."""
        ordered = depth_first(readers)
        return ordered, make_plan(ordered, room)


def depth_first(readers: Sequence[Reader]) -> list[Reader]:
    """Sort `readers` so that the readers of every node are neighbours; each node is visited only once."""
    ending: defaultdict[KVNode, list[Reader]] = defaultdict(list)
    below: defaultdict[KVNode | None, list[KVNode]] = defaultdict(list)
    entered: set[KVNode] = set()
    for reader in readers:
        ending[reader.leaf].append(reader)
        node: KVNode | None = reader.leaf
        while node is not None and node not in entered:
            entered.add(node)
            below[node.parent].append(node)
            node = node.parent
    ordered: list[Reader] = []
    pending = below[None]
    while pending:
        node = pending.pop()
        ordered.extend(ending[node])
        pending.extend(reversed(below[node]))
    return ordered


def make_plan(readers: Sequence[Reader], room: int = 1) -> Plan:
    """The attention plan of `readers`, which are in depth-first order: one work item per node and run of pages.

    A node that several readers share is one item, loaded once for all of them. See `Planner.plan` for `room`.
    """
    first_row: dict[KVNode, int] = {}
    rows: dict[KVNode, int] = {}
    cached: dict[KVNode, int] = {}
    positions: list[int] = []
    for reader in readers:
        entered = []
        node = reader.leaf
        while node.parent is not None and node not in rows:
            entered.append(node)
            node = node.parent
        for node in reversed(entered):
            first_row[node], rows[node], cached[node] = len(positions), 0, node.computed
        rows[reader.leaf] += reader.rows
        if reader.writes:
            cached[reader.leaf] += reader.rows + reader.room(room)
        begin = reader.leaf.start + reader.first
        positions.extend(range(begin, begin + reader.rows))
    for node in reversed(rows):
        if node.parent in rows:
            rows[node.parent] += rows[node]

    items = ItemTable()
    for node, length in cached.items():
        items.add(node.pages, node.first_slot, (node.start, length), (first_row[node], rows[node]))
    return items.plan(positions)
