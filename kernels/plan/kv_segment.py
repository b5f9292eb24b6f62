"""A tree of cached tokens, as a caller describes it, and what its queries read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import KernelArgumentError
from .item_table import ItemTable
from .plan import PAGE_SIZE, Plan
from .segments import ReadTree, Segments
from .tile_tables import Ints


class KVSegment(NamedTuple):
    """A run of tokens in a KV cache: one node of a tree.

    Attributes:
        parent: Index of the segment that this one continues, which comes before it; -1 if a path begins here.
        length: Number of tokens.
        pages: Ids of the pages that hold them, in order.
        first_slot: Slot of the first token in the first page.
    """

    parent: int
    length: int
    pages: Sequence[int]
    first_slot: int = 0

    @property
    def slots(self) -> list[int]:
        """The slot of every token, `page * PAGE_SIZE + offset`, as `store_kv` takes it."""
        end = self.first_slot + self.length
        pages = self.pages[: -(-end // PAGE_SIZE)]
        return [page * PAGE_SIZE + offset for page in pages for offset in range(PAGE_SIZE)][self.first_slot : end]


class SegmentReads:
    """What queries read of a tree of segments.

    Attributes:
        order: `[rows]`, for each row of a plan the number of its row in the caller's order. A plan's rows are in
            depth-first order, so that the rows that read a segment are neighbours.
        positions: `[rows]`, the absolute position of each row of a plan.
    """

    def __init__(self, segments: Sequence[KVSegment], queries: Sequence[tuple[int, int]]) -> None:
        """Find the readers of every segment.

        Args:
            segments: The tree; they must be valid, see `check_segments`.
            queries: Index of a segment and a number of rows each: the segment's last tokens are the rows.
        """
        self._segments = segments
        self._start = [0] * len(segments)
        for number, (parent, *_) in enumerate(segments):
            if parent >= 0:
                self._start[number] = self._start[parent] + segments[parent].length
        self._count_rows(queries)
        rows = sum(self._ends)
        order, positions = np.empty(rows, np.int64), np.empty(rows, np.int64)
        cursor, given = list(self._first_row), 0
        for number, count in queries:
            own = np.arange(count)
            at = cursor[number] + own
            order[at] = given + own
            positions[at] = self._start[number] + segments[number].length - count + own
            cursor[number] += count
            given += count
        self.order: Ints = order
        self.positions: Ints = positions

    def _count_rows(self, queries: Sequence[tuple[int, int]]) -> None:
        """Count how many rows end in each segment and how many read it, and number them depth first."""
        count = len(self._segments)
        self._ends, self._rows, self._first_row = [0] * count, [0] * count, [0] * count
        for number, rows in queries:
            self._ends[number] += rows
        for number in range(count - 1, -1, -1):
            self._rows[number] += self._ends[number]
            parent = self._segments[number].parent
            if parent >= 0:
                self._rows[parent] += self._rows[number]
        following = [0] * (count + 1)  # the next row below each segment; the last entry belongs to -1
        for number, (parent, *_) in enumerate(self._segments):
            first = self._first_row[number] = following[parent]
            following[parent] += self._rows[number]
            following[number] = first + self._ends[number]

    def items(self) -> Plan:
        """The plan of work items, on the host."""
        table = ItemTable()
        for number, (_, length, pages, first_slot) in enumerate(self._segments):
            if self._rows[number]:
                readers = (self._first_row[number], self._rows[number])
                table.add(pages, first_slot, (self._start[number], length), readers)
        return table.plan(self.positions)

    def tree(self) -> ReadTree:
        """What is read, for a plan of tiles."""
        above = {-1: -1}
        columns: list[tuple[int, ...]] = []
        slots: list[int] = []
        for number, segment in enumerate(self._segments):
            rows, ends = self._rows[number], self._ends[number]
            if not rows or not segment.length:
                above[number] = above[segment.parent]
                continue
            above[number] = len(columns)
            first_row, start = self._first_row[number], self._start[number]
            columns.append((above[segment.parent], len(slots), segment.length, start, first_row, rows, ends, first_row))
            slots += segment.slots
        found = Segments(*np.array(columns, np.int64).T)
        return ReadTree(self.positions.astype(np.int32), self.positions, np.array(slots, np.int32), found)


def check_segments(segments: Sequence[KVSegment], queries: Sequence[tuple[int, int]], pages: int) -> None:
    """Check that `segments` is a tree in a cache of so many pages, and that `queries` are in it.

    Raises:
        KernelArgumentError: They are not; the message says which one, and why.
    """
    for number, segment in enumerate(segments):
        what = f"plan_tree: segment {number}"
        if not -1 <= segment.parent < number:
            raise KernelArgumentError(
                f"{what} has the parent {segment.parent}: list parents before their children, and give roots -1"
            )
        if segment.length < 0 or not 0 <= segment.first_slot < PAGE_SIZE:
            raise KernelArgumentError(
                f"{what} has the length {segment.length} and begins in slot {segment.first_slot} of a page: lengths "
                f"are 0 or more, slots below {PAGE_SIZE}"
            )
        needed = -(-(segment.first_slot + segment.length) // PAGE_SIZE)
        if len(segment.pages) < needed:
            raise KernelArgumentError(
                f"{what} has {len(segment.pages)} pages of {PAGE_SIZE} tokens, but needs {needed} for its tokens"
            )
        used = segment.pages[:needed]
        if used and not 0 <= min(used) <= max(used) < pages:
            raise KernelArgumentError(f"{what} has a page outside of the {pages} pages of the cache")
    for number, rows in queries:
        if not 0 <= number < len(segments):
            raise KernelArgumentError(f"plan_tree: a query reads segment {number}, but there are {len(segments)}")
        if not 1 <= rows <= segments[number].length:
            raise KernelArgumentError(
                f"plan_tree: a query has {rows} rows in segment {number}, which has {segments[number].length} tokens: "
                "rows are the last tokens of their own segment, at least one"
            )
    if not queries:
        raise KernelArgumentError("plan_tree: there are no queries; give at least one segment that is read")
