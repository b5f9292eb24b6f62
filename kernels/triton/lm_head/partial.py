"""What is known of parts of the vocabulary before it is put together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .shape import CHOSEN, TILE


class Partial(NamedTuple):
    """What the kernels of the LM head tell each other. Tiles are 128 tokens; a shard is one thread block's tiles.

    Attributes:
        logits: `[rows, capacity, TILE]` fp32, rows of tiles that may have one of the best tokens.
        maxima: `[rows, tiles]` fp32, the largest logit of each tile.
        promises: `[rows, tiles]` fp32, what no logit / temperature + noise is above, or None without a draw; without
            values in rows that do not draw.
        places: `[rows, tiles]` int32, where in `logits` the tile is, or -1.
        tokens: `[tiles]` int32, the first token of each.
        sums: `[rows, shards]` fp32, log-sum-exp of the shard's logits.
        scaled_sums: Same of logits / temperature, like `promises`.
        counts: `[rows]` int32, how many places have been asked for, more than there are included.
        bounds: `[rows]` fp32, a logit that the `k`-th best is not below.
        bound_tiles: `[rows]` int32, with which tile: of those with such a maximum, only tiles before it matter.
        best_scores: `[rows]` fp32, a score that the draw's is not below.
        chosen: `[rows, 2, CHOSEN]` int64, for the merge: tiles that have the best tokens, and these tokens' keys.
    """

    logits: Tensor
    maxima: Tensor
    promises: Tensor | None
    places: Tensor
    tokens: Tensor
    sums: Tensor
    scaled_sums: Tensor | None
    counts: Tensor
    bounds: Tensor
    bound_tiles: Tensor
    best_scores: Tensor
    chosen: Tensor

    @staticmethod
    def empty(rows: int, tiles: int, capacity: int, shards: int, has_draw: bool, device: torch.device) -> Partial:
        """Room for `capacity` rows of tiles of each row."""

        def floats(*shape: int) -> Tensor:
            return torch.empty(shape, device=device)

        def ints(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=torch.int32, device=device)

        return Partial(
            logits=floats(rows, capacity, TILE),
            maxima=floats(rows, tiles),
            promises=floats(rows, tiles) if has_draw else None,
            places=ints(rows, tiles),
            tokens=ints(tiles),
            sums=floats(rows, shards),
            scaled_sums=floats(rows, shards) if has_draw else None,
            counts=ints(rows),
            bounds=floats(rows),
            bound_tiles=ints(rows),
            best_scores=floats(rows),
            chosen=torch.empty(rows, 2, CHOSEN, dtype=torch.int64, device=device),
        )
