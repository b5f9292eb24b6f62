"""Finds the tree in a table of pages, which lists the pages of each sequence from its beginning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import KernelArgumentError
from .kv_segment import KVSegment
from .plan import PAGE_SIZE


def segments_of_pages(
    page_table: Tensor | Sequence[Sequence[int]], lengths: Tensor | Sequence[int]
) -> tuple[list[KVSegment], list[tuple[int, int]]]:
    """Find what sequences share: those that begin with the same pages have the tokens in them in common.

    Args:
        page_table: `[sequences, pages]`, the pages of each sequence in order; entries after a sequence's end may be
            anything, and rows may differ in length.
        lengths: `[sequences]`, the number of tokens of each, at least 1.

    Returns:
        Segments and queries for `plan_tree`: one query per sequence, in their order, for its last token.

    Raises:
        KernelArgumentError: A sequence has no token, or too few pages for its tokens.
    """
    listed = page_table.tolist() if isinstance(page_table, Tensor) else page_table
    ends = [int(length) for length in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]
    if len(listed) != len(ends):
        raise KernelArgumentError(f"segments_of_pages: {len(listed)} rows of pages, but {len(ends)} lengths")
    used = [-(-end // PAGE_SIZE) for end in ends]
    table = np.full((len(ends), max(used, default=0)), -1, np.int64)
    for number, (pages, end) in enumerate(zip(listed, ends, strict=True)):
        if end < 1 or len(pages) < used[number]:
            raise KernelArgumentError(
                f"segments_of_pages: sequence {number} has {end} tokens and {len(pages)} pages of {PAGE_SIZE} tokens: "
                "it needs at least one token, and pages for all of them"
            )
        table[number, : used[number]] = pages[: used[number]]
    return _Search(table, np.array(ends, np.int64)).found()


class _Search:
    """The search for the segments of a table of pages, from the roots downwards."""

    def __init__(self, table: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self._table, self._ends = table, ends
        self._segments: list[KVSegment] = []
        self._leaves = [-1] * len(ends)
        self._waiting: list[tuple[NDArray[np.int64], int, int]] = []

    def found(self) -> tuple[list[KVSegment], list[tuple[int, int]]]:
        """The segments, and a query for each sequence."""
        self._fork(np.arange(len(self._ends)), 0, -1)
        while self._waiting:
            self._add(*self._waiting.pop())
        return self._segments, [(leaf, 1) for leaf in self._leaves]

    def _fork(self, sequences: NDArray[np.int64], begin: int, parent: int) -> None:
        """Put `sequences` that go on from token `begin` in groups with the same next page."""
        page = self._table[sequences, begin // PAGE_SIZE] if len(sequences) else sequences
        groups = [sequences[page == each] for each in dict.fromkeys(page.tolist())]
        self._waiting += [(group, begin, parent) for group in reversed(groups)]

    def _add(self, sequences: NDArray[np.int64], begin: int, parent: int) -> None:
        """Add the segment of `sequences`, which share the page of token `begin`, as far as they all share pages."""
        first_page = begin // PAGE_SIZE
        differ = (self._table[sequences, first_page:] != self._table[sequences[0], first_page:]).any(axis=0)
        shared = (first_page + int(differ.argmax())) * PAGE_SIZE if differ.any() else int(self._ends[sequences].max())
        end = min(shared, int(self._ends[sequences].min()))
        pages = self._table[sequences[0], first_page : -(-end // PAGE_SIZE)].tolist()
        number = len(self._segments)
        self._segments.append(KVSegment(parent, end - begin, pages, begin % PAGE_SIZE))
        is_end = self._ends[sequences] == end
        for sequence in sequences[is_end].tolist():
            self._leaves[sequence] = number
        self._fork(sequences[~is_end], end, number)
