"""From runs of tokens and their rows to the tiles of a plan."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import Tile
from .tile_tables import Ints

Counts = NDArray[np.int64]

_FIRST, _POSITION, _LENGTH, _FIRST_ROW, _ROWS, _PARTIAL, _WIDTH = range(len(Tile._fields))


class Runs(NamedTuple):
    """Consecutive tokens of a path, all of which are read by the same rows; one run is one tile of any size.

    Attributes:
        first: `[runs]`, index into `Tiles.slots` of the first token's slot.
        position: `[runs]`, its absolute position.
        length: `[runs]`, tokens.
        first_row: `[runs]`, the first row that reads them.
        rows: `[runs]`, how many do, one after the other.
    """

    first: Counts
    position: Counts
    length: Counts
    first_row: Counts
    rows: Counts


class Tails(NamedTuple):
    """Runs of a row each that share tiles, in which each of them has places of its own.

    Attributes:
        first: `[tiles]`, the first run of each tile; its further runs follow, and their rows follow each other.
        rows: `[tiles]`, how many runs that are.
        width: `[tiles]`, places of each run.
        tokens: `[tiles]`, tokens of all runs together.
    """

    first: Counts
    rows: Counts
    width: Counts
    tokens: Counts

    def others(self, runs: int) -> NDArray[np.bool_]:
        """`[runs]`, which runs have tiles of their own."""
        others = np.ones(runs, np.bool_)
        tile, number = counted(self.rows)
        others[self.first[tile] + number] = False
        return others


class Cut(NamedTuple):
    """Runs in pieces.

    Attributes:
        tiles: `[tiles, 7]`, long ones first.
        partials: See `Tiles.partials`.
        merges: See `Tiles.merges`.
        last: `[runs]`, index of the tile that has the last token of a run, for its last rows.
    """

    tiles: Ints
    partials: Ints
    merges: Ints
    last: Counts


def cut(
    runs: Runs,
    block: int,
    longest: Counts,
    width: Counts,
    positions: Counts,
    *,
    merge_all: bool = False,
    causal: bool = False,
) -> Cut:
    """Cut runs by tokens, then by rows.

    Args:
        runs: In the order of their positions.
        block: Most rows of a tile.
        longest: `[runs]`, most tokens of a tile.
        width: `[runs]`, places of a row where a run stands for a whole tile of tails, else 0.
        positions: `[rows]`, of all query rows.
        merge_all: Leave every result to be merged, even that of a row that reads a single tile.
        causal: Whether a run may have tokens behind all rows of a tile, which are then left out.
    """
    pieces = -(-runs.length // longest)
    run, number = counted(pieces)
    tiles = np.empty((len(run), len(Tile._fields)), np.int64)
    skipped = number * longest[run]
    tiles[:, _FIRST] = runs.first[run] + skipped
    tiles[:, _POSITION] = runs.position[run] + skipped
    tiles[:, _LENGTH] = np.minimum(longest[run], runs.length[run] - skipped)
    tiles[:, _FIRST_ROW] = runs.first_row[run]
    tiles[:, _ROWS] = runs.rows[run]
    tiles[:, _WIDTH] = width[run]
    last = np.cumsum(pieces) - 1
    if int(runs.rows.max()) > block:
        whole, number = counted(-(-tiles[:, _ROWS] // block))
        last = np.searchsorted(whole, last, side="right") - 1
        tiles, skipped = tiles[whole], number * block
        tiles[:, _FIRST_ROW] += skipped
        tiles[:, _ROWS] = np.minimum(block, tiles[:, _ROWS] - skipped)
    if causal:
        ranges = np.column_stack((tiles[:, _FIRST_ROW], tiles[:, _FIRST_ROW] + tiles[:, _ROWS])).ravel()
        seen = np.maximum.reduceat(np.append(positions, 0), ranges)[::2] + 1 - tiles[:, _POSITION]
        seen = np.where(tiles[:, _WIDTH] > 0, tiles[:, _LENGTH], seen)
        tiles[:, _LENGTH] = np.minimum(tiles[:, _LENGTH], seen)
        kept = tiles[:, _LENGTH] > 0
        last = np.cumsum(kept)[last] - 1
        tiles = tiles[kept]
    partials, merges = _merges(tiles, len(positions), 0 if merge_all else 1)
    order = np.argsort(-tiles[:, _LENGTH], kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return Cut(tiles[order].astype(np.int32), partials, merges, place[last])


def several_tiles(runs: Runs, pieces: Counts) -> NDArray[np.bool_]:
    """`[runs]`, whether some row of a run reads more than one tile, if each run is cut into so many `pieces`."""
    edges = np.zeros(int((runs.first_row + runs.rows).max()) + 1, np.int64)
    np.add.at(edges, runs.first_row, pieces)
    np.subtract.at(edges, runs.first_row + runs.rows, pieces)
    return _some(np.cumsum(edges[:-1]) > 1, runs.first_row, runs.rows)


def _merges(tiles: Counts, rows: int, most: int) -> tuple[Ints, Ints]:
    """Number the partial results in `tiles`, which are in the order of positions; returns what merges them.

    A tile has partial results if one of its rows reads more than `most` tiles.
    """
    tile, number = counted(tiles[:, _ROWS])
    readings = np.bincount(tiles[tile, _FIRST_ROW] + number, minlength=rows)
    counts = np.where(_some(readings > most, tiles[:, _FIRST_ROW], tiles[:, _ROWS]), tiles[:, _ROWS], 0)
    tiles[:, _PARTIAL] = np.where(counts > 0, np.cumsum(counts) - counts, -1)

    tile, number = counted(counts)
    row = tiles[tile, _FIRST_ROW] + number
    by_row = np.argsort(row.astype(np.uint16) if rows < 1 << 16 else row, kind="stable")  # 16 bits are radix-sorted
    merges = np.append(0, np.cumsum(np.bincount(row, minlength=rows)))
    return by_row.astype(np.int32), merges.astype(np.int32)


def _some(is_so: NDArray[np.bool_], first_row: Counts, rows: Counts) -> NDArray[np.bool_]:
    """Of each range of rows, whether it `is_so` for at least one."""
    before = np.append(0, np.cumsum(is_so))
    found: NDArray[np.bool_] = before[first_row + rows] > before[first_row]
    return found


def counted(counts: Counts) -> tuple[Counts, Counts]:
    """Whose each unit is and which of its: counts `[2, 3]` give `[0, 0, 1, 1, 1]` and `[0, 1, 0, 1, 2]`."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
