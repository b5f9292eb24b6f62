"""Turns runs of tokens into the tables of a plan in tiles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .plan import Tile

Ints = NDArray[np.int64]

_FIRST, _POSITION, _LENGTH, _FIRST_ROW, _ROWS, _PARTIAL, _WIDTH = range(len(Tile._fields))


class Runs(NamedTuple):
    """Runs of tokens, each read by the same rows, before they are cut into tiles; a run may also be a tile of tails.

    Attributes:
        first: `[runs]`, index into `Tiles.slots` of the first token's slot.
        position: `[runs]`, `Tile.position` of a tile that begins there.
        length: `[runs]`, number of tokens, or of places for tails.
        first_row: `[runs]`, the first row that reads the run.
        rows: `[runs]`, how many consecutive rows read it.
        width: `[runs]`, `Tile.width`.
    """

    first: Ints
    position: Ints
    length: Ints
    first_row: Ints
    rows: Ints
    width: Ints


class TileTables(NamedTuple):
    """Three columns of `Tiles`, as arrays of int32.

    Attributes:
        tiles: As `Tiles.tiles`, long ones first.
        partials: As `Tiles.partials`; a row's are in the order of their positions.
        merges: As `Tiles.merges`.
    """

    tiles: NDArray[np.int32]
    partials: NDArray[np.int32]
    merges: NDArray[np.int32]


def tile_tables(runs: Runs, block: int, longest: Ints, last: Ints, *, merge_all: bool = False) -> TileTables:
    """Cut runs by tokens, then by rows. Tiles with the same tokens are neighbours, so that they share the GPU's cache.

    Args:
        runs: What is read; tails have at most `block` rows and are not cut.
        block: Maximum number of rows of a tile.
        longest: `[runs]`, most tokens of a tile; for tails, at least their number of places.
        last: `[query rows]`, the last position that each row will see; tokens after those of all rows of a tile are
            left out.
        merge_all: Write every result as a partial one to be merged, even that of a row that reads a single tile.
    """
    run, number = counted(-(-runs.length // longest))
    skipped = number * longest[run]
    tiles = np.stack(runs)[:, run]
    first, position, length, first_row, rows, width = tiles
    first += skipped
    position += skipped
    np.minimum(longest[run], length - skipped, out=length)
    if (rows > block).any():
        part, number = counted(-(-rows // block))
        skipped = number * block
        tiles = tiles[:, part]
        first, position, length, first_row, rows, width = tiles
        first_row += skipped
        np.minimum(rows - skipped, block, out=rows)
    ranges = np.column_stack((first_row, first_row + rows)).ravel()
    seen = np.maximum.reduceat(np.append(last, 0), ranges)[::2] + 1 - position
    np.minimum(length, seen, out=length, where=width == 0)
    kept = length > 0
    if not kept.all():
        tiles = tiles[:, kept]
    return _numbered(tiles, len(last), merge_all)


def _numbered(runs: Ints, rows: int, merge_all: bool) -> TileTables:
    """Number the partial results of finished tiles, and make the tables."""
    _, position, length, first_row, count, width = runs
    several = readings(first_row, first_row + count, np.ones_like(count), rows) > (0 if merge_all else 1)
    before = np.append(0, np.cumsum(several))
    counts = np.where(before[first_row + count] > before[first_row], count, 0)
    partial = np.where(counts > 0, np.cumsum(counts) - counts, -1)

    tile, number = counted(counts)
    row = first_row[tile] + number
    by_row = np.lexsort((position[tile], row))
    merges = np.append(0, np.cumsum(np.bincount(row, minlength=rows)))
    tiles = np.column_stack((*runs[:_PARTIAL], partial, width))[np.argsort(-length, kind="stable")]
    return TileTables(tiles.astype(np.int32), by_row.astype(np.int32), merges.astype(np.int32))


def readings(first_row: Ints, end_row: Ints, times: Ints, rows: int) -> Ints:
    """How often each row is in the ranges from `first_row` to `end_row`, each counted `times` times: `[rows]`."""
    edges = np.bincount(first_row, times, rows + 1) - np.bincount(end_row, times, rows + 1)
    return np.cumsum(edges[:-1]).astype(np.int64)


def counted(counts: Ints) -> tuple[Ints, Ints]:
    """The owner of each unit, and its index there: counts `[2, 3]` give `[0, 0, 1, 1, 1]` and `[0, 1, 0, 1, 2]`."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]


def ranges(first: Ints, count: Ints) -> NDArray[np.int32]:
    """Concatenated ranges of `count` numbers, each from a `first` one: `[5, 2]` and `[3, 1]` give `[5, 6, 7, 2]`."""
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    numbers: NDArray[np.int32] = np.repeat((first - ends + count).astype(np.int32), count)
    numbers += np.arange(total, dtype=np.int32)
    return numbers
