"""From runs of tokens and their rows to the tiles of a plan, of a size that keeps a device busy to the end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import Tile
from .tile_cost import L2_SHARE, TileCost
from .tile_tables import Ints

Counts = NDArray[np.int64]

SHORTEST = 64
"""Tokens of the shortest piece that a run is cut into: one block of the kernel's tokens."""

GRAIN = 16
"""Pieces are whole pages, apart from the last one of a run."""

BALANCED = 1.1
"""A plan is good enough if its last tile ends within so many times the even share of all workers: the margin to 1.15, which
is promised, is for the tokens that branches grow by until it is cut again."""

_SHARES = (1.0, 0.8, 0.67, 0.5, 0.4, 0.33, 0.25, 0.2, 0.16, 0.125)
"""Lengths to try for the longest piece, in parts of an even share."""

_FIRST, _POSITION, _LENGTH, _FIRST_ROW, _ROWS, _PARTIAL = range(len(Tile._fields))


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


class Cut(NamedTuple):
    """Runs in pieces.

    Attributes:
        tiles: `[tiles, 6]`, long ones first.
        partials: See `Tiles.partials`.
        merges: See `Tiles.merges`.
        last: `[runs]`, index of the tile that has the last token of a run, for its last rows.
    """

    tiles: Ints
    partials: Ints
    merges: Ints
    last: Counts


def longest_piece(runs: Runs, cost: TileCost, workers: int) -> int:
    """The greatest length of pieces with which `workers` workers end at about the same time.

    Pieces are dealt out longest first, as a device takes them. An even share is the cost of all tiles divided by the
    workers, but never less than the shortest piece allowed of any run. If no length is good enough, it is the one with
    which the last worker ends first.
    """
    longest = int(runs.length.max())
    share = float((runs.length * (1 + (-(-runs.rows // cost.block) - 1) * L2_SHARE)).sum()) / workers
    lengths = [longest, *(_whole(share * part) for part in _SHARES)]
    best, best_end = longest, np.inf
    for length in sorted({max(min(length, longest), min(SHORTEST, longest)) for length in lengths}, reverse=True):
        end, even = balance(piece_costs(runs, cost, length), piece_costs(runs, cost, SHORTEST).max(), workers)
        if end <= BALANCED * even:
            return length
        if end < best_end:
            best, best_end = length, end
    return best


def is_balanced(runs: Runs, cost: TileCost, workers: int, longest: int) -> bool:
    """Whether pieces of `longest` tokens are still good enough."""
    end, even = balance(piece_costs(runs, cost, longest), piece_costs(runs, cost, SHORTEST).max(), workers)
    return end <= BALANCED * even


def balance(costs: NDArray[np.float64], least: float, workers: int) -> tuple[float, float]:
    """When the last of `workers` workers has done tiles of these `costs`, and when all would have in equal shares.

    Tiles are dealt out longest first, a round at a time, the longest one to who has least to do.
    """
    costs = np.sort(costs)[::-1]
    loads = costs[:workers]
    for begin in range(workers, len(costs), workers):
        loads = np.sort(loads)
        more = costs[begin : begin + workers]
        loads[: len(more)] += more
    return float(loads.max()), max(float(costs.sum()) / workers, least)


def piece_costs(runs: Runs, cost: TileCost, longest: int) -> NDArray[np.float64]:
    """`[tiles]`, what each tile costs when runs are cut into pieces of at most `longest` tokens."""
    piece, pieces = _pieces(runs.length, longest)
    blocks = -(-runs.rows // cost.block)
    read = (1 + (blocks - 1) * L2_SHARE) / blocks * cost.token
    rest = cost.tile + cost.partial * np.minimum(runs.rows, cost.block) * _merged(runs, pieces)
    whole = np.repeat(piece * read + rest, (pieces - 1) * blocks)
    last = np.repeat((runs.length - (pieces - 1) * piece) * read + rest, blocks)
    return np.concatenate((whole, last))


def cut(runs: Runs, block: int, longest: int, positions: Counts, *, fixed: bool = False, causal: bool = False) -> Cut:
    """Cut runs by tokens, then by rows.

    Args:
        runs: In the order of their positions.
        block: Most rows of a tile.
        longest: Most tokens of a tile.
        positions: `[rows]`, of all query rows.
        fixed: Cut after every `longest` tokens, not in pieces of about the same length, and merge every row.
        causal: Whether a run may have tokens behind all rows of a tile, which are then left out.
    """
    piece, pieces = _pieces(runs.length, longest, fixed=fixed)
    run, number = _counted(pieces)
    tiles = np.empty((len(run), len(Tile._fields)), np.int64)
    skipped = number * piece[run]
    tiles[:, _FIRST] = runs.first[run] + skipped
    tiles[:, _POSITION] = runs.position[run] + skipped
    tiles[:, _LENGTH] = np.minimum(piece[run], runs.length[run] - skipped)
    tiles[:, _FIRST_ROW] = runs.first_row[run]
    tiles[:, _ROWS] = runs.rows[run]
    last = np.cumsum(pieces) - 1
    if int(runs.rows.max()) > block:
        whole, number = _counted(-(-tiles[:, _ROWS] // block))
        last = np.searchsorted(whole, last, side="right") - 1
        tiles, skipped = tiles[whole], number * block
        tiles[:, _FIRST_ROW] += skipped
        tiles[:, _ROWS] = np.minimum(block, tiles[:, _ROWS] - skipped)
    if causal:
        ranges = np.column_stack((tiles[:, _FIRST_ROW], tiles[:, _FIRST_ROW] + tiles[:, _ROWS])).ravel()
        seen = np.maximum.reduceat(np.append(positions, 0), ranges)[::2] + 1 - tiles[:, _POSITION]
        tiles[:, _LENGTH] = np.minimum(tiles[:, _LENGTH], seen)
        kept = tiles[:, _LENGTH] > 0
        last = np.cumsum(kept)[last] - 1
        tiles = tiles[kept]
    partials, merges = _merges(tiles, len(positions), 0 if fixed else 1)
    order = np.argsort(-tiles[:, _LENGTH], kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return Cut(tiles[order].astype(np.int32), partials, merges, place[last])


def _pieces(length: Counts, longest: int, *, fixed: bool = False) -> tuple[Counts, Counts]:
    """Tokens of the pieces of each run, apart from the last one, and how many pieces there are."""
    if not fixed:
        pieces = -(-length // longest)
        piece = -(-length // (pieces * GRAIN)) * GRAIN
    else:
        piece = np.full_like(length, longest)
    return piece, -(-length // piece)


def _merged(runs: Runs, pieces: Counts) -> NDArray[np.bool_]:
    """`[runs]`, whether some row of a run reads further tiles."""
    edges = np.zeros(int((runs.first_row + runs.rows).max()) + 1, np.int64)
    np.add.at(edges, runs.first_row, pieces)
    np.subtract.at(edges, runs.first_row + runs.rows, pieces)
    several = np.append(0, np.cumsum(np.cumsum(edges[:-1]) > 1))
    return several[runs.first_row + runs.rows] > several[runs.first_row]


def _merges(tiles: Counts, rows: int, most: int) -> tuple[Ints, Ints]:
    """Number the partial results in `tiles`, which are in the order of positions; returns what merges them.

    A tile has partial results if one of its rows reads more than `most` tiles.
    """
    tile, number = _counted(tiles[:, _ROWS])
    readers = np.bincount(tiles[tile, _FIRST_ROW] + number, minlength=rows)
    several = np.append(0, np.cumsum(readers > most))
    merged = several[tiles[:, _FIRST_ROW] + tiles[:, _ROWS]] > several[tiles[:, _FIRST_ROW]]
    counts = np.where(merged, tiles[:, _ROWS], 0)
    tiles[:, _PARTIAL] = np.where(merged, np.cumsum(counts) - counts, -1)

    tile, number = _counted(counts)
    row = tiles[tile, _FIRST_ROW] + number
    by_row = np.argsort(row.astype(np.uint16) if rows < 1 << 16 else row, kind="stable")
    merges = np.append(0, np.cumsum(np.bincount(row, minlength=rows)))
    return by_row.astype(np.int32), merges.astype(np.int32)


def _counted(counts: Counts) -> tuple[Counts, Counts]:
    """Whose each unit is and which of its: counts `[2, 3]` give `[0, 0, 1, 1, 1]` and `[0, 1, 0, 1, 2]`."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]


def _whole(tokens: float) -> int:
    """`tokens` rounded up to whole grains."""
    return int(-(-tokens // GRAIN)) * GRAIN
