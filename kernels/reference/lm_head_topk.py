"""LM head with log-sum-exp, top-k and the Gumbel-max draw."""

from __future__ import annotations

import torch
from torch import Tensor

from ..sampling import Draw, HeadTopK
from .linear import DenseLinear, linear
from .philox import gumbel

_TILE = 16384
"""Vocabulary rows per tile: few enough that a tile of logits stays small, many enough for an efficient product."""


def lm_head_topk(
    hidden: Tensor, weight: DenseLinear, k: int, targets: Tensor | None = None, draw: Draw | None = None
) -> HeadTopK:
    """Process the vocabulary in tiles and keep what is asked for. See `Kernels.lm_head_topk`."""
    rows, device = len(hidden), hidden.device
    lse = torch.full((rows,), -torch.inf, device=device)
    top_logits = torch.empty(rows, 0, device=device)
    top_ids = torch.empty(rows, 0, dtype=torch.int64, device=device)
    target_logits = None if targets is None else torch.full((rows,), torch.nan, device=device)
    best = _Best(rows, draw, device) if draw is not None else None

    for start in range(0, weight.out_features, _TILE):
        logits = linear(hidden, weight, slice(start, start + _TILE)).float()
        lse = torch.logaddexp(lse, logits.logsumexp(dim=-1))
        tile_logits, tile_ids = logits.topk(min(k, logits.shape[1]), dim=-1)
        top_logits, kept = torch.cat((top_logits, tile_logits), dim=1).topk(
            min(k, top_logits.shape[1] + tile_logits.shape[1]), dim=-1
        )
        top_ids = torch.cat((top_ids, tile_ids + start), dim=1).gather(1, kept)
        if targets is not None and target_logits is not None:
            inside = (targets >= start) & (targets < start + logits.shape[1])
            target_logits[inside] = logits[inside, targets[inside] - start]
        if best is not None:
            best.update(logits, start)

    if best is None:
        return HeadTopK(top_ids, top_logits, lse, target_logits, None, None, None)
    return HeadTopK(top_ids, top_logits, lse, target_logits, best.ids, best.logits, best.scaled_lse)


class _Best:
    """The best token so far of the Gumbel-max draw, for rows whose temperature is above 0."""

    def __init__(self, rows: int, draw: Draw, device: torch.device) -> None:
        self.drawing = (draw.temperature > 0).nonzero()[:, 0]
        self.temperature, self.key, self.position = (field[self.drawing] for field in draw)
        self.ids = torch.zeros(rows, dtype=torch.int64, device=device)
        self.logits = torch.zeros(rows, device=device)
        self.scaled_lse = torch.full((rows,), -torch.inf, device=device)
        self._score = torch.full((len(self.drawing),), -torch.inf, device=device)

    def update(self, logits: Tensor, start: int) -> None:
        """Update the draw with a tile of `logits` whose first column is token `start`."""
        scaled = logits[self.drawing] / self.temperature[:, None]
        self.scaled_lse[self.drawing] = torch.logaddexp(self.scaled_lse[self.drawing], scaled.logsumexp(dim=-1))
        ids = torch.arange(start, start + logits.shape[1], device=logits.device)[None]
        score, column = (scaled + gumbel(self.key, self.position, ids)).max(dim=-1)
        better = score > self._score
        self._score = torch.where(better, score, self._score)
        winners = self.drawing[better]
        self.ids[winners] = column[better] + start
        self.logits[winners] = logits[winners, column[better]]
