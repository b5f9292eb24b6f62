"""From runs of tokens to the tables of a plan in tiles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .plan import Tile

Ints = NDArray[np.int64]

_FIRST, _POSITION, _LENGTH, _FIRST_ROW, _ROWS, _PARTIAL, _WIDTH = range(len(Tile._fields))


class Runs(NamedTuple):
    """Consecutive tokens of a path that the same rows read, or a tile of tails. One run is one tile of any size.

    Attributes:
        first: `[runs]`, index into `Tiles.slots` of the first token's slot.
        position: `[runs]`, `Tile.position` of a tile that begins there.
        length: `[runs]`, tokens, or places of tails.
        first_row: `[runs]`, the first row that reads them.
        rows: `[runs]`, how many do, one after the other.
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
        tiles: Long ones first.
        partials: Those of a row in the order of their positions.
        merges: As `Tiles.merges`.
    """

    tiles: NDArray[np.int32]
    partials: NDArray[np.int32]
    merges: NDArray[np.int32]


def tile_tables(runs: Runs, block: int, longest: Ints, last: Ints, *, merge_all: bool = False) -> TileTables:
    """Cut runs by tokens, then by rows. The tiles of the same tokens are neighbours, which meet in the cache.

    Args:
        runs: What is read; tails have at most `block` rows and are not cut.
        block: Most rows of a tile.
        longest: `[runs]`, most tokens of a tile, at least the places of a tile of tails.
        last: `[query rows]`, the last position that each row will see; what lies behind all rows of a tile is left out.
        merge_all: Leave every result to be merged, even that of a row that reads a single tile.
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
    """The tables of tiles that are finished but for their partial results."""
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
    """`[rows]`, how often each row is in the ranges from `first_row` to `end_row`, which count so many `times`."""
    edges = np.bincount(first_row, times, rows + 1) - np.bincount(end_row, times, rows + 1)
    return np.cumsum(edges[:-1]).astype(np.int64)


def counted(counts: Ints) -> tuple[Ints, Ints]:
    """Whose each unit is and which of its: counts `[2, 3]` give `[0, 0, 1, 1, 1]` and `[0, 1, 0, 1, 2]`."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]


def ranges(first: Ints, count: Ints) -> NDArray[np.int32]:
    """Ranges of so many numbers from each first one, one after the other: `[5, 2]` and `[3, 1]` give `[5, 6, 7, 2]`."""
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    numbers: NDArray[np.int32] = np.repeat((first - ends + count).astype(np.int32), count)
    numbers += np.arange(total, dtype=np.int32)
    return numbers
