"""Draws tokens and computes their confidences, for engines that return logits."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .peer import CONFIDENCE_K, TOP_K


class DrawnRows(NamedTuple):
    """One drawn token per row.

    Attributes:
        ids: `[rows]` int64, the tokens.
        top_ids: `[rows, 5]` int64, the most probable tokens.
        top_logprobs: `[rows, 5]` fp32, their log-probabilities.
        confidences: `[rows]` fp32, the confidences of `ids`.
    """

    ids: Tensor
    top_ids: Tensor
    top_logprobs: Tensor
    confidences: Tensor


def draw_rows(logits: Tensor) -> DrawnRows:
    """Draw one token per row from the `TOP_K` best, with temperature 1.

    On two cores, 64 rows of 151,936 logits take 45 ms; with `logsumexp` instead of log-softmax, 80 ms.

    Args:
        logits: `[rows, vocab]` fp32.
    """
    logprobs, ids = logits.log_softmax(dim=-1).topk(TOP_K, dim=-1)
    chosen = torch.multinomial(logprobs.exp(), 1)
    best = logprobs[:, :CONFIDENCE_K]
    confidences = logprobs.gather(1, chosen)[:, 0].exp() / best.exp().sum(dim=1)
    return DrawnRows(ids.gather(1, chosen)[:, 0], ids[:, :CONFIDENCE_K], best, confidences)


def draw(logits: Tensor) -> Tensor:
    """Draw one token per row and check its confidence; see `draw_rows`.

    Returns:
        `[rows]` int64, the drawn token ids.
    """
    drawn = draw_rows(logits)
    assert drawn.confidences.min() > 0
    return drawn.ids
