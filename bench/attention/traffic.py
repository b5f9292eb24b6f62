"""What a way to read a tree costs, counted and modelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from marcot.engine.plan.tile_cost import BLOCK_TOKENS, Work, modelled_us

from .policies import Device, Piece


class Traffic(NamedTuple):
    """One layer of a decode step.

    Attributes:
        read: Tokens that all pieces read together, to those that there are.
        tiles: Work items of a KV head.
        partials: Of them, those with partial results.
        us: How long it takes in the planner's model, in microseconds.
    """

    read: float
    tiles: int
    partials: int
    us: float


def traffic(pieces: Sequence[Piece], rows: int, tokens: int, device: Device) -> Traffic:
    """What reading `pieces` costs `rows` rows in all, of a tree of so many `tokens`."""
    cost = device.cost
    readings = np.zeros(rows, np.int64)
    for piece in pieces:
        readings[list(piece.rows)] += 1
    tiles = blocks = partials = longest = 0
    for piece in pieces:
        times, length = -(-len(piece.rows) // cost.rows), -(-max(piece.tokens, piece.places) // BLOCK_TOKENS)
        tiles += times
        blocks += times * length
        longest = max(longest, length)
        partials += times * bool((readings[list(piece.rows)] > 1).any())
    us = modelled_us(cost, Work(tiles, blocks, longest, partials, int(readings.max()), tokens))
    return Traffic(sum(piece.tokens for piece in pieces) / tokens, tiles, partials, us)
