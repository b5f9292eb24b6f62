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

from ..kernels import Tiles
from ..kernels.tile_tables import Ints

BLOCK_TOKENS = 64
"""Tokens that a thread block multiplies at a time."""

# Microseconds, for heads of 128 values and 64 (row, head) pairs where they depend on these. Fitted by
# `python -m bench.attention.fit_tile_cost` to the times in `bench/results/attention_times.json`.
_LAUNCH = 5.303
BLOCK_LATENCY = 0.88
_MERGE_LATENCY = 1.357
_TILE = 1.333
_READ = 1.067
_PRODUCT = 0.401
_PARTIAL = 5.848
_FETCH = 0.0230


class TileCost(NamedTuple):
    """The prices of a model on a device, in microseconds, and how many rows a tile has.

    Attributes:
        workers: Tiles that run side by side.
        rows: Most rows of a tile.
        tile: What each tile takes of a worker's time, whatever is in it.
        block: What each of its blocks of tokens takes: reading them, and multiplying them with the queries.
        partial: What its partial results take, if it has any: writing them, and reading them to merge them.
        merge: How much later a row is done for every tile that it reads, if these are several.
        token: What each token's first way from memory takes of all workers' time.
    """

    workers: int
    rows: int
    tile: float
    block: float
    partial: float
    merge: float
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


def tile_cost(workers: int, rows: int, group: int, head_dim: int) -> TileCost:
    """The prices.

    Args:
        workers: See `Tiling.workers`.
        rows: One of `Tiling.rows`.
        group: Query heads per KV head.
        head_dim: Width of a head.
    """
    heads = head_dim / 128
    pairs = (1 << max(rows * group - 1, 15).bit_length()) / 64
    block = _READ * heads + _PRODUCT * pairs
    return TileCost(
        workers, rows, _TILE, block, _PARTIAL * heads * pairs, _MERGE_LATENCY * heads * pairs, _FETCH * heads
    )


def modelled_us(cost: TileCost, work: Work) -> float:
    """How long attention takes, in microseconds."""
    latency = work.longest * BLOCK_LATENCY + (work.readings * cost.merge if work.partials else 0.0)
    busy = work.tiles * cost.tile + work.blocks * cost.block + work.partials * cost.partial
    return _LAUNCH + hypot(latency, busy / cost.workers) + work.tokens * cost.token / cost.workers


def work_of(tiles: Tiles, tokens: int) -> Work:
    """What `tiles` ask for, of so many different tokens; empty ones ask for nothing."""
    table: Ints = tiles.tiles.numpy().astype(np.int64)
    _, _, length, _, _, partial, _ = table[table[:, 2] > 0].T
    blocks = -(-length // BLOCK_TOKENS)
    readings = int(np.diff(tiles.merges.numpy()).max())
    return Work(len(blocks), int(blocks.sum()), int(blocks.max()), int((partial >= 0).sum()), max(readings, 1), tokens)
