"""Results of the LM head for single tiles and shards, before they are merged."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .shape import CHOSEN, TILE


class Partial(NamedTuple):
    """Intermediate results that the LM head's kernels share. A tile is 128 tokens; a shard is a thread block's tiles.

    Attributes:
        logits: `[rows, capacity, TILE]` fp32, the tiles of each row that may hold one of its best tokens or its draw.
        maxima: `[rows, tiles]` fp32, the largest logit of each tile.
        promises: `[rows, tiles]` fp32, upper bounds of logit / temperature + noise in each tile, or None without a
            draw; undefined in rows that do not draw.
        places: `[rows, tiles]` int32, index of the tile in `logits`, or -1 if it is not stored.
        tokens: `[tiles]` int32, the first token of each tile.
        sums: `[rows, shards]` fp32, log-sum-exp of the shard's logits.
        scaled_sums: Same for logits / temperature; None or undefined where `promises` is.
        counts: `[rows]` int32, how many places in `logits` have been requested; may exceed the number available.
        bounds: `[rows]` fp32, a lower bound of the `k`-th best logit.
        bound_tiles: `[rows]` int32, the tile that the bound is from; a tile of equal maximum matters only if it comes
            before this one.
        best_scores: `[rows]` fp32, a lower bound of the draw's score.
        chosen: `[rows, 2, CHOSEN]` int64, scratch memory of the merge: the tiles that hold the best tokens, and the
            keys of these tokens.
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
        """Allocate all tensors, with room for the logits of `capacity` tiles per row."""

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
