"""How large tiles should be, so that all workers of a device are done at about the same time."""

from __future__ import annotations

from heapq import heapreplace
from math import inf

import numpy as np
from numpy.typing import NDArray

from .tile_cost import L2_SHARE, TileCost
from .tile_cutting import Counts, Runs, several_tiles

Costs = NDArray[np.float64]

SHORTEST = 32
"""Tokens of the shortest piece that a run is cut into: below it the tile itself costs more than half as much."""

_GRAIN = 16
"""Pieces are whole pages, apart from the last one of a run."""

_PARTS = tuple(0.97**step for step in range(1, 160))
"""Costs of a tile to try, in parts of the largest one."""

_LEAST_PART = 0.2
"""None is tried that is less than so much of what a worker has to do at least."""

_EVEN = 1.04
"""Good enough: the last worker ends so many times as late as is possible."""

SOONER = 0.99
"""Smaller tiles must end the step so many times as soon, as they make more traffic."""

_HALVINGS = 16
"""Steps of a bisection, to a part in ten thousand."""


def even_cost(runs: Runs, cost: TileCost, workers: int) -> tuple[float, float]:
    """The most that a tile should cost so that `workers` workers are done as soon as possible, and when they are.

    Small tiles keep all workers busy to the end, large ones have fewer partial results.
    """
    costs = piece_costs(runs, cost, runs.length)
    best, best_end = inf, last_end(costs, workers)
    largest, least = float(costs.max()), least_end(runs, cost, workers)
    for most in [largest * part for part in _PARTS if largest * part > least * _LEAST_PART]:
        if best_end <= _EVEN * least:
            break
        end = last_end(piece_costs(runs, cost, longest_pieces(runs, cost, most)), workers)
        if end < SOONER * best_end:
            best, best_end = most, end
    return best, best_end


def longest_pieces(runs: Runs, cost: TileCost, most: float) -> Counts:
    """`[runs]`, tokens of the longest pieces of each run that cost at most `most`, or else of the shortest allowed."""
    if most == inf:
        return runs.length
    blocks = -(-runs.rows // cost.block)
    rest = cost.tile + cost.partial * np.minimum(runs.rows, cost.block)
    tokens = ((most - rest) / (_token_costs(blocks, cost) * _GRAIN)).astype(np.int64) * _GRAIN
    return np.maximum(tokens, SHORTEST)


def piece_costs(runs: Runs, cost: TileCost, longest: Counts, several: NDArray[np.bool_] | None = None) -> Costs:
    """`[tiles]`, what each tile costs when runs are cut into pieces of at most `longest` (`[runs]`) tokens.

    `several` says of each run whether one of its rows reads more than one tile, where `runs` are not all that there is.
    """
    pieces = -(-runs.length // longest)
    if several is None:
        several = several_tiles(runs, pieces)
    blocks = -(-runs.rows // cost.block)
    token = _token_costs(blocks, cost)
    rest = cost.tile + cost.partial * runs.rows / blocks * several
    whole = np.repeat(longest * token + rest, (pieces - 1) * blocks)
    last = np.repeat((runs.length - (pieces - 1) * longest) * token + rest, blocks)
    return np.concatenate((whole, last))


def last_end(costs: Costs, workers: int) -> float:
    """When `workers` workers have done tiles of these `costs`, if the longest that is left goes to whoever is free."""
    loads = [0.0] * workers
    for cost in np.sort(costs)[::-1].tolist():
        heapreplace(loads, loads[0] + cost)
    return max(loads)


def least_end(runs: Runs, cost: TileCost, workers: int) -> float:
    """When the last worker ends at the earliest, however runs are cut: if all are busy to the end.

    If it ends at `t`, no tile costs more than `t`, which takes a certain number of tiles; and all of them together cost
    at most `t` for each worker.
    """
    blocks = -(-runs.rows // cost.block)
    token = _token_costs(blocks, cost)
    merged = cost.partial * runs.rows / blocks
    always = several_tiles(runs, np.ones_like(runs.length))
    work = token * runs.length
    low, high = 0.0, float((blocks * (work + cost.tile + merged)).sum())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        pieces = np.ceil(runs.length / np.maximum((middle - cost.tile - merged) / token, SHORTEST))
        rest = cost.tile + merged * (always | (pieces > 1))
        shortest = np.minimum(runs.length, SHORTEST) * token + rest
        if (shortest <= middle).all() and (blocks * (work + pieces * rest)).sum() <= workers * middle:
            high = middle
        else:
            low = middle
    return high


def _token_costs(blocks: Counts, cost: TileCost) -> Costs:
    """What a token costs each of so many tiles that read it: its share of the bytes, or products if that is more."""
    return np.maximum((1 + (blocks - 1) * L2_SHARE) / blocks * cost.token, cost.product)
