"""Where the tokens of tiles lie among `Tiles.slots`."""

from __future__ import annotations

from collections.abc import Sequence

from .stem import Slots, Stem, Twig
from .tile_tables import Ints, TileTables

_ROOM = 128
"""Tokens that fit behind a new region, besides half of its length: how long a branch grows before it is copied."""

Layout = tuple[Stem | Twig, Slots, Slots]
"""Whose region it is, the tokens that come along, and its own."""


class SlotRegions:
    """Hands out regions of `Tiles.slots`, front to back. What is given up is garbage until all is laid out anew."""

    def __init__(self, tables: TileTables) -> None:
        """Lay out regions in `tables`."""
        self._tables = tables
        self.used = 0

    @property
    def slots(self) -> Ints:
        """The buffer."""
        return self._tables.slots

    def fits(self, layouts: Sequence[Layout]) -> bool:
        """Whether there is room for `layouts` besides everything else."""
        return self.used + _size(layouts) <= len(self.slots)

    def clear(self, layouts: Sequence[Layout]) -> None:
        """Forget all regions, and make room for `layouts`, which hold copies, twice."""
        self.used = 0
        self._tables.reserve_slots(2 * _size(layouts))

    def lay_out(self, layouts: Sequence[Layout], clock: int) -> None:
        """Give regions to `layouts`, which fit; `clock` is the `StemTree.clock`."""
        slots, at = self.slots, self.used
        for owner, carried, own in layouts:
            owner.region = at
            owner.carried = len(carried)
            middle = at + len(carried)
            slots[at:middle] = carried
            at = middle + len(own)
            slots[middle:at] = own
            if isinstance(owner, Twig):
                owner.slots = None
                room = _ROOM + len(own) // 2
                owner.full = clock + room
                at += room
        self.used = at


def _size(layouts: Sequence[Layout]) -> int:
    """Tokens of `layouts`, with room to grow."""
    tokens = sum(len(carried) + len(own) for _, carried, own in layouts)
    return tokens + sum(_ROOM + len(own) // 2 for owner, _, own in layouts if isinstance(owner, Twig))
