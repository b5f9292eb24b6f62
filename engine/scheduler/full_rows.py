"""Full rows of logits, where the candidates of the LM-head kernel do not suffice."""

from __future__ import annotations

from torch import Tensor

from ...model import Decoder

FULL_ROWS = 16
"""Maximum rows that are sorted at a time: with a vocabulary of 150,000 tokens, each takes 2.4 MB."""


def sorted_rows(decoder: Decoder, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Sort the whole vocabulary by logit for each row, best first.

    Args:
        decoder: The model, whose LM head is applied.
        hidden: `[rows, hidden]`, at most `FULL_ROWS` rows.

    Returns:
        Token ids, `[rows, vocab]` int64, and raw logits, `[rows, vocab]` fp32. Equal logits are sorted by token id.
    """
    logits, ids = decoder.kernels.linear(hidden, decoder.head).float().sort(dim=1, descending=True, stable=True)
    return ids, logits
