"""How long attention takes to follow the tiles of a plan: a model of measured times.

    launch + sqrt(latency ** 2 + throughput ** 2) + fetch

The latency is that of the longest tile, block of tokens after block, and of merging the partial results of the row that
reads most tiles. The throughput is what all tiles take together, shared out evenly among the workers. Where one is much
the longer of the two, it hides the other. No step shows in the measured times where one more tile needs another wave
of workers: thread blocks share processors, and fewer run faster.
"""

from __future__ import annotations

from math import hypot
from typing import NamedTuple

import numpy as np

from ...kernels import Tiles
from ...kernels.tile_tables import Ints

BLOCK_TOKENS = 64
"""Tokens that a thread block multiplies at a time."""


class Prices(NamedTuple):
    """Microseconds, for heads of 128 values and 64 (row, head) pairs where they depend on these.

    Attributes:
        launch: Of everything that happens once.
        block_latency: How much later a tile is done for each of its blocks of tokens.
        merge_latency: How much later a row is done for each tile that it reads, if these are several.
        tile: What a tile takes of a worker's time, whatever is in it.
        read: What reading a block of tokens takes.
        product: What multiplying it takes; four times as much for twice as many pairs, which leave fewer registers for
            what is on its way.
        partial: What writing the partial results of a tile, and reading them to merge them, takes.
        fetch: What a token's first way from memory takes.
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
"""Of an H200, as `python -m bench.attention.fit_tile_cost` fits them to the times of 372 plans: a typical one is off by
9 %, those that this model has chosen by 10 %."""


class TileCost(NamedTuple):
    """The prices of a model on a device, in microseconds, and how many rows a tile has.

    Attributes:
        workers: Tiles that run side by side.
        rows: Most rows of a tile.
        launch: Of everything that happens once.
        wait: How much later a tile is done for each of its blocks of tokens.
        merge: How much later a row is done for each tile that it reads, if these are several.
        tile: What each tile takes of a worker's time, whatever is in it.
        block: What each of its blocks of tokens takes: reading them, and multiplying them with the queries.
        partial: What its partial results take, if it has any.
        token: What each token's first way from memory takes.
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
    """All that the time of a plan depends on.

    Attributes:
        tiles: How many there are.
        blocks: Blocks of tokens of all of them.
        longest: Blocks of the longest one.
        partials: Tiles that have partial results.
        readings: Tiles of the row that reads most.
        tokens: Different ones in all.
    """

    tiles: int
    blocks: int
    longest: int
    partials: int
    readings: int
    tokens: int


def tile_cost(workers: int, rows: int, group: int, head_dim: int, prices: Prices = MEASURED) -> TileCost:
    """The prices of tiles.

    Args:
        workers: See `Tiling.workers`.
        rows: One of `Tiling.rows`.
        group: Query heads per KV head.
        head_dim: Width of a head.
        prices: Of the device.
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
    """How long attention takes, in microseconds."""
    latency = work.longest * cost.wait + (work.readings * cost.merge if work.partials else 0.0)
    busy = work.tiles * cost.tile + work.blocks * cost.block + work.partials * cost.partial
    return cost.launch + hypot(latency, busy / cost.workers) + work.tokens * cost.token / cost.workers


def work_of(tiles: Tiles, tokens: int) -> Work:
    """What `tiles` ask for, of so many different tokens; empty ones ask for nothing."""
    table: Ints = tiles.tiles.numpy().astype(np.int64)
    _, _, length, _, _, partial, _ = table[table[:, 2] > 0].T
    blocks = -(-length // BLOCK_TOKENS)
    readings = int(np.diff(tiles.merges.numpy()).max())
    return Work(len(blocks), int(blocks.sum()), int(blocks.max()), int((partial >= 0).sum()), max(readings, 1), tokens)
