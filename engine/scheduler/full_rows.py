"""Whole rows of logits, for what candidates do not say."""

from __future__ import annotations

from torch import Tensor

from ...model import Decoder

FULL_ROWS = 16
"""Rows that are sorted at a time: with a vocabulary of 150,000 tokens each takes 2.4 MB."""


def sorted_rows(decoder: Decoder, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """All tokens of each row, best first.

    Args:
        decoder: Has the LM head.
        hidden: `[rows, hidden]`, at most `FULL_ROWS` rows.

    Returns:
        Ids, `[rows, vocab]` int64, and raw logits, `[rows, vocab]` fp32; of equal ones, the lowest id is first.
    """
    logits, ids = decoder.kernels.linear(hidden, decoder.head).float().sort(dim=1, descending=True, stable=True)
    return ids, logits
