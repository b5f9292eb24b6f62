"""The memory of an attention plan on the host."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..kernels import Tile, Tiles

Ints = NDArray[np.int32]

_ROWS, _TILES, _PARTIALS, _SLOTS = 256, 1024, 4096, 65_536
"""What fits at first: a search of some dozens of branches and thousands of tokens, in half a megabyte."""


class TileTables:
    """Arrays that plans are written into. One that becomes too small is replaced by one of twice the size.

    Attributes:
        positions: As `Plan.positions`, with room behind.
        tails: As `Tiles.tails`, likewise.
        merges: As `Tiles.merges`, likewise.
        tiles: As `Tiles.tiles`, likewise.
        partials: As `Tiles.partials`, likewise.
        slots: As `Tiles.slots`, likewise.
    """

    def __init__(self) -> None:
        """Reserve room for a small search."""
        self.positions: Ints = np.zeros(_ROWS, np.int32)
        self.tails: Ints = np.zeros(_ROWS, np.int32)
        self.merges: Ints = np.zeros(_ROWS + 1, np.int32)
        self.tiles: Ints = np.zeros((_TILES, len(Tile._fields)), np.int32)
        self.partials: Ints = np.zeros(_PARTIALS, np.int32)
        self.slots: Ints = np.zeros(_SLOTS, np.int32)

    def write(self, positions: Ints, merges: Ints, tiles: Ints, partials: Ints) -> None:
        """Enter all tables but the slots, and where tails start."""
        self.reserve(len(positions), len(tiles), len(partials))
        for table, values in (
            (self.positions, positions),
            (self.merges, merges),
            (self.tiles, tiles),
            (self.partials, partials),
        ):
            table[: len(values)] = values

    def reserve(self, rows: int, tiles: int, partials: int) -> None:
        """Make sure that so many fit; nothing is kept."""
        self.positions = _large_enough(self.positions, rows)
        self.tails = _large_enough(self.tails, rows)
        self.merges = _large_enough(self.merges, rows + 1)
        self.tiles = _large_enough(self.tiles, tiles)
        self.partials = _large_enough(self.partials, partials)

    def reserve_slots(self, slots: int) -> None:
        """Make sure that so many slots fit; nothing is kept."""
        if slots > len(self.slots):
            self.slots = np.zeros(_doubled(len(self.slots), slots), np.int32)

    def extend_slots(self, slots: int) -> None:
        """Make sure that so many slots fit; they are kept."""
        had = self.slots
        self.slots = _large_enough(had, slots)
        if self.slots is not had:
            self.slots[: len(had)] = had

    def views(self, rows: int, tiles: int, partials: int, slots: int, block: int) -> tuple[Tensor, Tiles]:
        """The first so many of everything as tensors that share the memory, so that the next plan overwrites them."""
        tables = (self.tiles[:tiles], self.slots[:slots], self.partials[:partials], self.merges[: rows + 1])
        positions, *columns = map(torch.from_numpy, (self.positions[:rows], self.tails[:rows], *tables))
        return positions, Tiles(block, *columns)


def _large_enough(table: Ints, wanted: int) -> Ints:
    """`table`, or a larger one if `wanted` rows do not fit."""
    if wanted <= len(table):
        return table
    return np.zeros((_doubled(len(table), wanted), *table.shape[1:]), np.int32)


def _doubled(has: int, wanted: int) -> int:
    """The size `has`, doubled until `wanted` fits."""
    while has < wanted:
        has *= 2
    return has
