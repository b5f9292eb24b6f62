"""The attention plan: which queries read which run of cached tokens."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class WorkItem(NamedTuple):
    """One load of K and V for all its readers: a run of cached tokens times a range of query rows.

    Attributes:
        first_page: Index into `Plan.pages` of the page that holds the run's first token.
        first_slot: Slot of that token inside its page.
        position: Absolute position of that token in its sequence.
        length: Tokens in the run; they fill consecutive slots of consecutive `Plan.pages`.
        first_row: First query row that reads the run.
        rows: How many consecutive query rows read it.
    """

    first_page: int
    first_slot: int
    position: int
    length: int
    first_row: int
    rows: int


class Plan(NamedTuple):
    """All attention work of one forward step.

    A query at position `p` sees the cached tokens at positions `<= p` of every item that covers its row; its own
    token's K and V are in the cache before attention runs. The items that cover a row are disjoint and together
    hold the row's whole path, so that merging their partial results by log-sum-exp gives full attention.

    Attributes:
        positions: `[rows]` int32, absolute position of each query row.
        items: `[items, 6]` int32, the columns of `WorkItem`.
        pages: `[pages]` int32, page ids, concatenated over the items.
    """

    positions: Tensor
    items: Tensor
    pages: Tensor
