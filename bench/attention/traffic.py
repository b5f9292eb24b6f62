"""Computes the cost of a way to read a tree: counted tokens and tiles, and modelled time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from marcot.kernels.plan.tile_cost import BLOCK_TOKENS, Work, modelled_us

from .policies import Device, Piece


class Traffic(NamedTuple):
    """The cost of attention in one layer of a decode step.

    Attributes:
        read: Tokens that all pieces read, divided by the tokens of the tree.
        tiles: Tiles per KV head.
        partials: How many of them give partial results.
        us: Time in microseconds, by the planner's cost model.
    """

    read: float
    tiles: int
    partials: int
    us: float


def traffic(pieces: Sequence[Piece], rows: int, tokens: int, device: Device) -> Traffic:
    """Return the cost of reading `pieces`, for a tree of `tokens` tokens and `rows` rows in all."""
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
