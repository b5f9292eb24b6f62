"""From runs of tokens and their rows to the tiles of a plan, of a size that keeps a device busy to the end."""

from __future__ import annotations

from heapq import heapreplace
from math import inf
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

_PARTS = tuple(0.97**step for step in range(1, 160))
"""Costs of a tile to try, in parts of the largest one."""

_LEAST_SHARE = 0.2
"""None is tried that is a smaller part of an even share of all workers."""

_EVEN = 1.04
"""Good enough: the last worker ends so many times as late as is possible."""

_HALVINGS = 16
"""Steps of a bisection to a few thousandths."""

_SOONER = 0.99
"""Smaller tiles must end the step so much sooner, as they make more traffic."""

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


def even_cost(runs: Runs, cost: TileCost, workers: int) -> tuple[float, float]:
    """The most that a tile should cost so that `workers` workers are done as soon as possible, and when they are.

    Tiles are dealt out longest first, as a device takes them. Small tiles keep all workers busy to the end, large ones
    have fewer partial results.
    """
    costs = piece_costs(runs, cost, runs.length)
    best, best_end = inf, last_end(costs, workers)
    largest, least = float(costs.max()), least_end(runs, cost, workers)
    for most in [largest * part for part in _PARTS if largest * part > _LEAST_SHARE * least]:
        if best_end <= _EVEN * least:
            break
        costs = piece_costs(runs, cost, longest_pieces(runs, cost, most))
        end = last_end(costs, workers)
        if end < best_end * _SOONER:
            best, best_end = most, end
    return best, best_end


def least_end(runs: Runs, cost: TileCost, workers: int) -> float:
    """A lower bound for the end of the last worker, however runs are cut: all workers busy to the end.

    If it ends at `t`, no tile costs more than `t`, which takes a certain number of them; and all tiles together cost at
    most `t` for each worker.
    """
    blocks = -(-runs.rows // cost.block)
    read = _per_token(blocks, cost)
    merged = cost.partial * runs.rows / blocks
    alone = _merged(runs, np.ones_like(runs.length))
    work = read * runs.length
    low, high = 0.0, float((blocks * (work + cost.tile + merged)).sum())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        longest = np.maximum(((middle - cost.tile - merged) / read), SHORTEST)
        pieces = np.ceil(runs.length / longest)
        rest = cost.tile + merged * (alone | (pieces > 1))
        fits = (np.minimum(longest, runs.length) * read + rest <= middle).all()
        if fits and (blocks * (work + pieces * rest)).sum() <= workers * middle:
            high = middle
        else:
            low = middle
    return high


def longest_pieces(runs: Runs, cost: TileCost, most: float) -> Counts:
    """`[runs]`, tokens of the longest pieces of each run that cost at most `most`, or else of the shortest allowed."""
    if most == inf:
        return runs.length
    blocks = -(-runs.rows // cost.block)
    rest = cost.tile + cost.partial * np.minimum(runs.rows, cost.block)
    tokens = ((most - rest) / (_per_token(blocks, cost) * GRAIN)).astype(np.int64) * GRAIN
    return np.maximum(tokens, SHORTEST)


def last_end(costs: NDArray[np.float64], workers: int) -> float:
    """When the last of `workers` workers has done tiles of these `costs`, dealt out longest first to who is free."""
    loads = [0.0] * workers
    for cost in np.sort(costs)[::-1].tolist():
        heapreplace(loads, loads[0] + cost)
    return max(loads)


def piece_costs(runs: Runs, cost: TileCost, longest: Counts) -> NDArray[np.float64]:
    """`[tiles]`, what each tile costs when runs are cut into pieces of at most `longest` (`[runs]`) tokens."""
    pieces = -(-runs.length // longest)
    blocks = -(-runs.rows // cost.block)
    read = _per_token(blocks, cost)
    rest = cost.tile + cost.partial * np.minimum(runs.rows, cost.block) * _merged(runs, pieces)
    whole = np.repeat(longest * read + rest, (pieces - 1) * blocks)
    last = np.repeat((runs.length - (pieces - 1) * longest) * read + rest, blocks)
    return np.concatenate((whole, last))


def cut(
    runs: Runs, block: int, longest: Counts, positions: Counts, *, merge_all: bool = False, causal: bool = False
) -> Cut:
    """Cut runs by tokens, then by rows.

    Args:
        runs: In the order of their positions.
        block: Most rows of a tile.
        longest: `[runs]`, most tokens of a tile.
        positions: `[rows]`, of all query rows.
        merge_all: Leave every result to be merged, even if a row reads a single tile.
        causal: Whether a run may have tokens behind all rows of a tile, which are then left out.
    """
    pieces = -(-runs.length // longest)
    run, number = _counted(pieces)
    tiles = np.empty((len(run), len(Tile._fields)), np.int64)
    skipped = number * longest[run]
    tiles[:, _FIRST] = runs.first[run] + skipped
    tiles[:, _POSITION] = runs.position[run] + skipped
    tiles[:, _LENGTH] = np.minimum(longest[run], runs.length[run] - skipped)
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
    partials, merges = _merges(tiles, len(positions), 0 if merge_all else 1)
    order = np.argsort(-tiles[:, _LENGTH], kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return Cut(tiles[order].astype(np.int32), partials, merges, place[last])


def _per_token(blocks: Counts, cost: TileCost) -> NDArray[np.float64]:
    """What a token costs each of so many tiles that read it: its share of the bytes, or the products if longer."""
    return np.maximum((1 + (blocks - 1) * L2_SHARE) / blocks * cost.token, cost.product)


def _merged(runs: Runs, pieces: Counts) -> NDArray[np.bool_]:
    """`[runs]`, whether some row of a run reads further tiles."""
    edges = np.zeros(int((runs.first_row + runs.rows).max()) + 1, np.int64)
    np.add.at(edges, runs.first_row, pieces)
    np.subtract.at(edges, runs.first_row + runs.rows, pieces)
    several = np.append(0, np.cumsum(np.cumsum(edges[:-1]) > 1))
    read_more: NDArray[np.bool_] = several[runs.first_row + runs.rows] > several[runs.first_row]
    return read_more


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
