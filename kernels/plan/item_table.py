"""Collects the work items of a plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .plan import PAGE_SIZE, Plan, WorkItem
from .tile_tables import Ints

_MOST_TOKENS = 2048
"""Maximum tokens of a work item; this bounds how many scores an attention kernel holds at once."""


class ItemTable:
    """The work items of one plan, in the order in which they were added, on the host."""

    def __init__(self) -> None:
        """Start without items."""
        self._items: list[int] = []
        self._pages: list[int] = []

    def add(self, pages: Sequence[int], first_slot: int, run: tuple[int, int], readers: tuple[int, int]) -> None:
        """Add a run of tokens as one item, or as several if it is long.

        Args:
            pages: The pages of a node.
            first_slot: Slot of the run's first token, counted from the start of `pages[0]`.
            run: Absolute position of the run's first token, and its number of tokens.
            readers: The first row that reads the run, and how many rows do.
        """
        position, length = run
        for start in range(0, length, _MOST_TOKENS):
            tokens = min(_MOST_TOKENS, length - start)
            page, slot = divmod(first_slot + start, PAGE_SIZE)
            last = (first_slot + start + tokens - 1) // PAGE_SIZE
            self._items.extend(WorkItem(len(self._pages), slot, position + start, tokens, *readers))
            self._pages.extend(pages[page : last + 1])

    def plan(self, positions: Sequence[int] | Ints) -> Plan:
        """The plan of all items, for rows at these positions."""
        items = np.array(self._items, np.int32).reshape(-1, len(WorkItem._fields))
        pages = np.array(self._pages, np.int32)
        return Plan(torch.from_numpy(np.array(positions, np.int32)), torch.from_numpy(items), torch.from_numpy(pages))
