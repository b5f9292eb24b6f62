"""The free list of KV pages."""

from __future__ import annotations


class PagePool:
    """Hands out page ids.

    Attributes:
        capacity: Total number of pages.
        peak: Highest number of pages in use so far.
    """

    def __init__(self, capacity: int) -> None:
        """Start with `capacity` free pages."""
        self.capacity = capacity
        self.peak = 0
        self._free = list(range(capacity - 1, -1, -1))

    @property
    def free(self) -> int:
        """How many pages are free."""
        return len(self._free)

    @property
    def in_use(self) -> int:
        """How many pages are in use."""
        return self.capacity - len(self._free)

    def take(self, count: int) -> list[int]:
        """Remove `count` pages from the free list; the caller has checked that there are enough."""
        kept = len(self._free) - count
        taken = self._free[kept:][::-1]
        del self._free[kept:]
        self.peak = max(self.peak, self.in_use)
        return taken

    def give(self, pages: list[int]) -> None:
        """Put `pages` back on the free list."""
        self._free.extend(pages)

    def free_pages(self) -> list[int]:
        """The ids of all free pages, for integrity checks."""
        return list(self._free)
