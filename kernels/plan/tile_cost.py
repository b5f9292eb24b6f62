"""A cost model of attention over the tiles of a plan, fitted to measured times.

    launch + sqrt(latency ** 2 + throughput ** 2) + fetch

The latency is the time of the longest tile, which processes its blocks of tokens one after the other, plus the time of
merging the partial results of the row that reads the most tiles. The throughput term is the total time of all tiles,
divided evenly among the workers. If one of the two is much longer, it hides the other. Measured times do not jump when
one more tile needs another wave of workers, because thread blocks share processors and run faster when there are fewer.
"""

from __future__ import annotations

from math import hypot
from typing import NamedTuple

import numpy as np

from .plan import Tiles
from .tile_tables import Ints

BLOCK_TOKENS = 64
"""How many tokens a thread block processes at a time."""


class Prices(NamedTuple):
    """Prices in microseconds. Those that depend on the shape are for heads of 128 values and 64 (row, head) pairs.

    Attributes:
        launch: Fixed cost per call.
        block_latency: Latency that each block of tokens adds to its tile.
        merge_latency: Latency that each tile adds to its row, if the row reads several.
        tile: Fixed cost of a tile, in a worker's time.
        read: Cost of reading a block of tokens.
        product: Cost of multiplying a block; four times as much for twice as many pairs, which leave fewer registers
            for loads in flight.
        partial: Cost of writing the partial results of a tile and reading them for the merge.
        fetch: Cost of loading a token from memory for the first time.
    """

    launch: float
    block_latency: float
    merge_latency: float
    tile: float
    read: float
    product: float
    partial: float
    fetch: float


MEASURED = Prices(5.5272, 0.8652, 1.4241, 1.4099, 1.3535, 0.3004, 5.3383, 0.0178)
"""Prices of an H200, fitted to the times of 372 plans by `python -m bench.attention.fit_tile_cost`. The typical error
is 9 %, and 10 % for plans that this model has chosen."""


class TileCost(NamedTuple):
    """The prices for a model on a device, in microseconds, and how many rows a tile has.

    Attributes:
        workers: Number of tiles that run at the same time.
        rows: Maximum rows of a tile.
        launch: Fixed cost per call.
        wait: Latency that each block of tokens adds to its tile.
        merge: Latency that each tile adds to its row, if the row reads several.
        tile: Fixed cost of a tile, in a worker's time.
        block: Cost of a block of tokens: reading it and multiplying it by the queries.
        partial: Cost of a tile's partial results, if it has any.
        token: Cost of loading a token from memory for the first time.
    """

    workers: int
    rows: int
    launch: float
    wait: float
    merge: float
    tile: float
    block: float
    partial: float
    token: float


class Work(NamedTuple):
    """The numbers that the time of a plan depends on.

    Attributes:
        tiles: Number of tiles.
        blocks: Total blocks of tokens in all tiles.
        longest: Blocks of the longest tile.
        partials: Number of tiles with partial results.
        readings: Number of tiles that a row reads, at most.
        tokens: Number of distinct tokens.
    """

    tiles: int
    blocks: int
    longest: int
    partials: int
    readings: int
    tokens: int


def tile_cost(workers: int, rows: int, group: int, head_dim: int, prices: Prices = MEASURED) -> TileCost:
    """Scale `prices` to a model and a number of rows per tile.

    Args:
        workers: See `Tiling.workers`.
        rows: Maximum rows of a tile, one of `Tiling.rows`.
        group: Query heads per KV head.
        head_dim: Width of a head.
        prices: The device's prices.
    """
    heads = head_dim / 128
    pairs = (1 << max(rows * group - 1, 15).bit_length()) / 64
    return TileCost(
        workers,
        rows,
        prices.launch,
        wait=prices.block_latency,
        merge=prices.merge_latency * heads * pairs,
        tile=prices.tile,
        block=prices.read * heads + prices.product * pairs**2,
        partial=prices.partial * heads * pairs,
        token=prices.fetch * heads,
    )


def modelled_us(cost: TileCost, work: Work) -> float:
    """The modelled time of attention, in microseconds."""
    latency = work.longest * cost.wait + (work.readings * cost.merge if work.partials else 0.0)
    busy = work.tiles * cost.tile + work.blocks * cost.block + work.partials * cost.partial
    return cost.launch + hypot(latency, busy / cost.workers) + work.tokens * cost.token / cost.workers


def work_of(tiles: Tiles, tokens: int) -> Work:
    """Count the work of `tiles`, which read this many distinct `tokens`; empty tiles are not counted."""
    table: Ints = tiles.tiles.numpy().astype(np.int64)
    _, _, length, _, _, partial, _ = table[table[:, 2] > 0].T
    blocks = -(-length // BLOCK_TOKENS)
    readings = int(np.diff(tiles.merges.numpy()).max())
    return Work(len(blocks), int(blocks.sum()), int(blocks.max()), int((partial >= 0).sum()), max(readings, 1), tokens)
