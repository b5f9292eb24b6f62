"""What a way to read a tree costs, counted and modelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from marcot.engine.tile_balance import last_end
from marcot.engine.tile_cost import L2_SHARE, TileCost

from .policies import Device, Piece


class Traffic(NamedTuple):
    """One layer and one KV head of a decode step.

    Attributes:
        kv: Bytes of K and V that come from memory.
        again: Bytes of K and V that the tiles of further rows read once more, from the L2 cache.
        partials: Bytes of partial results, written and read.
        tiles: Work items.
        cost: All of it in bytes of memory traffic, with the prices of the planner.
        end: When the last worker ends, in the same unit, if products count where they take longer than reads.
    """

    kv: float
    again: float
    partials: float
    tiles: int
    cost: float
    end: float


def traffic(pieces: Sequence[Piece], rows: int, device: Device) -> Traffic:
    """Count what reading `pieces` by `rows` rows in all costs."""
    cost = device.cost
    readings = np.zeros(rows, np.int64)
    for piece in pieces:
        readings[list(piece.rows)] += 1
    kv = again = merged = 0
    total = 0.0
    tiles: list[float] = []
    for tokens, reading, places in pieces:
        blocks = cost.blocks(len(reading))
        kv += tokens
        again += tokens * (blocks - 1)
        partial = bool((readings[list(reading)] > 1).any())
        merged += len(reading) * partial
        share = (1 + (blocks - 1) * L2_SHARE) / blocks * cost.token
        rest = cost.tile + cost.partial * partial * len(reading) / blocks
        total += (tokens * share + rest) * blocks
        tiles += [max(tokens * share, max(tokens, places) * cost.product) + rest] * blocks
    return Traffic(
        kv * cost.token,
        again * cost.token,
        merged * cost.partial / L2_SHARE,
        len(tiles),
        total,
        last_end(np.array(tiles), device.workers),
    )


def lower_bound(tokens: Sequence[int], cost: TileCost) -> float:
    """Bytes of K and V if each is read once."""
    return sum(tokens) * cost.token
