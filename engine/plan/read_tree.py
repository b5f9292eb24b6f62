"""Finds the tree of tokens that readers read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from ...kernels.plan.segments import ReadTree, Segments
from ...kernels.plan.tile_tables import Ints, counted
from ...model import PAGE_SIZE
from ..kv.node import KVNode
from .planner import Reader

_TOKENS, _START = attrgetter("tokens"), attrgetter("start")
_PAGES, _FIRST_SLOT = attrgetter("pages"), attrgetter("first_slot")
_IN_PAGE = np.arange(PAGE_SIZE, dtype=np.int32)


def read_tree(readers: Sequence[Reader], room: int) -> tuple[list[Reader], ReadTree]:
    """The tree that `readers` read, and `readers` in the order of its rows; visits every node once.

    That order makes the readers of every segment neighbours. See `Planner.plan` for `room`.

    A reader's *stretch* is the part of its path that no earlier reader shares; its nodes are numbered from the leaf
    upwards. A stretch is cut into segments where later stretches branch off.
    """
    nodes: list[KVNode] = []
    number: dict[KVNode, int] = {}
    begins: list[int] = []  # the number of each stretch's lowest node
    behind: list[int] = []  # the number of the node that each stretch continues, -1 for none
    for reader in readers:
        begins.append(len(nodes))
        node = reader.leaf
        while node not in number and node.parent is not None:
            number[node] = len(nodes)
            nodes.append(node)
            node = node.parent
        behind.append(number.get(node, -1))
    own = [reader.rows for reader in readers]
    rooms = [reader.room(room) for reader in readers]
    first_rows, columns = _segments(begins, behind, own, len(nodes))
    lowest, end, above, first_row, rows, ends, end_row = np.array(columns, np.int64)

    lengths = np.fromiter(map(len, map(_TOKENS, nodes)), np.int64, len(nodes))
    has_nodes = np.diff(begins, append=len(nodes)) > 0
    is_end = np.zeros(len(nodes) + 1, np.bool_)  # the last entry belongs to -1
    is_end[np.array(begins)[has_nodes]] = True
    is_end[np.array(behind)[has_nodes]] = False
    lengths[is_end[:-1]] = 0
    firsts = [reader.first for reader in readers]
    leaves = [number[reader.leaf] for reader in readers]
    np.maximum.at(lengths, leaves, np.array([firsts, own, rooms]).sum(axis=0))
    starts = np.fromiter(map(_START, nodes), np.int64, len(nodes))
    token = np.append(0, np.cumsum(lengths[::-1]))  # starting at the node with the highest number
    first = token[len(nodes) - end]
    length = token[len(nodes) - lowest] - first
    segments = Segments(above, first, length, starts[end - 1], first_row, rows, ends, end_row)
    order = np.argsort(first_rows)
    positions, last = _positions(starts[leaves] + firsts, np.array(own), np.array(rooms), order)
    slots = _slots(nodes[::-1], lengths[::-1])
    return [readers[i] for i in order.tolist()], ReadTree(positions, last, slots, segments)


def _segments(begins: list[int], behind: list[int], own: list[int], nodes: int) -> tuple[list[int], list[list[int]]]:
    """Number the rows and cut the stretches into segments.

    Args:
        begins: The number of each stretch's lowest node.
        behind: The number of the node that each stretch continues; -1 for none.
        own: The number of rows of each stretch's reader.
        nodes: Total number of nodes of all stretches.

    Returns:
        The first row of each reader, and the columns of the segments: number of the lowest node, number of the highest
        node plus 1, and `above`, `first_row`, `rows`, `ends` and `end_row` as in `Segments`.
    """
    ends_at = [*begins[1:], nodes]
    roots, below = _below(begins, ends_at, behind)
    sizes = list(own)
    for stretch in range(len(own) - 1, -1, -1):
        for _, _, other in below[stretch]:
            sizes[stretch] += sizes[other]
    first_rows = [0] * len(own)
    row = 0
    for stretch in roots:
        first_rows[stretch] = row
        row += sizes[stretch]

    found: list[tuple[int, ...]] = []
    above = {-1: -1}  # the segment whose lowest node has this number, if another segment continues it
    for stretch, end in enumerate(ends_at):
        lowest = begins[stretch]
        if lowest == end:
            continue
        row = end_row = first_rows[stretch]
        rows = ends = own[stretch]
        if not below[stretch]:  # true for most stretches
            found.append((lowest, end, above[behind[stretch]], row, rows, ends, end_row))
            continue
        cuts: list[tuple[int, ...]] = []
        for node, has_nodes, other in sorted(below[stretch]):
            if node > lowest:
                cuts.append((lowest, node, rows, ends, end_row))
                lowest, ends, end_row = node, 0, row + rows
            first_rows[other] = row + rows
            rows += sizes[other]
            if not has_nodes:
                ends += own[other]
        cuts.append((lowest, end, rows, ends, end_row))
        upper = above[behind[stretch]]
        for low, high, *counts in reversed(cuts):
            found.append((low, high, upper, row, *counts))
            upper = above[low] = len(found) - 1
    return first_rows, [list(column) for column in zip(*found, strict=True)]


def _below(
    begins: list[int], ends_at: list[int], behind: list[int]
) -> tuple[list[int], list[list[tuple[int, bool, int]]]]:
    """The stretches that begin a path; and for each stretch, those that continue it.

    A continuing stretch is given by the number of the node that it continues, whether it has nodes, and its own number.
    Sorted in this order, stretches without nodes come first at each node, so that rows ending in a segment are
    neighbours.
    """
    roots: list[int] = []
    below: list[list[tuple[int, bool, int]]] = [[] for _ in begins]
    for stretch, node in enumerate(behind):
        if node < 0:
            roots.append(stretch)
        else:
            below[bisect_right(begins, node) - 1].append((node, begins[stretch] < ends_at[stretch], stretch))
    return roots, below


def _positions(begins: Ints, rows: Ints, rooms: Ints, order: Ints) -> tuple[NDArray[np.int32], Ints]:
    """The positions of all rows at the beginning and at the end of a round, for readers in this `order`."""
    begins, rows, rooms = begins[order], rows[order], rooms[order]
    reader, number = counted(rows)
    positions = begins[reader] + number
    return positions.astype(np.int32), positions + rooms[reader]


def _slots(nodes: Sequence[KVNode], lengths: Ints) -> NDArray[np.int32]:
    """The slots of the first `lengths` tokens of each node."""
    pages = list(map(_PAGES, nodes))
    counts = np.fromiter(map(len, pages), np.int64, len(pages))
    table = np.fromiter(chain.from_iterable(pages), np.int32, int(counts.sum()))
    slots = (table[:, None] * np.int32(PAGE_SIZE) + _IN_PAGE).ravel()
    first = (np.cumsum(counts) - counts) * PAGE_SIZE + np.fromiter(map(_FIRST_SLOT, nodes), np.int64, len(pages))
    edges = np.zeros(len(slots) + 1, np.int8)
    edges[first] = 1
    edges[first + lengths] -= 1
    found: NDArray[np.int32] = slots[np.cumsum(edges[:-1], dtype=np.int8).view(np.bool_)]
    return found
