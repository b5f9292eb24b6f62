"""Events of a running generation: `Opened` once, then a `Piece` for each part of a choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..completion import Completion
from ..node import Node


class Opened(NamedTuple):
    """The request has been checked and queued.

    Attributes:
        prompt_tokens: Tokens of its prompt.
        cached_tokens: How many of them were in the cache.
    """

    prompt_tokens: int
    cached_tokens: int


class Piece(NamedTuple):
    """What one choice has drawn since its previous piece.

    Attributes:
        choice: The choice's number, from 0 on.
        drawn: The new tokens, possibly none, and the text that is certain by now: the text lags behind the tokens when
            they end inside a character or inside a possible stop string. The texts of all pieces add up to the text of
            the choice. Only the last piece has a `finish_reason`.
        node: The state after the choice, in its last piece and only if `keep` was set. Release it when done.
    """

    choice: int
    drawn: Completion
    node: Node | None = None


def joined(pieces: Sequence[Piece]) -> Piece:
    """Join several pieces of the same choice, given in order, into one."""
    if len(pieces) == 1:
        return pieces[0]
    drawn = [piece.drawn for piece in pieces]
    filled = [each for each in drawn if len(each.token_ids)] or drawn[:1]  # an empty one's arrays have no columns
    whole = Completion(
        np.concatenate([each.token_ids for each in filled]),
        np.concatenate([each.logits for each in filled]),
        np.concatenate([each.lse for each in filled]),
        np.concatenate([each.top_ids for each in filled]),
        np.concatenate([each.top_logits for each in filled]),
        "".join(each.text for each in drawn),
        drawn[-1].finish_reason,
        drawn[-1].is_raw,
        drawn[-1].stop_reason,
    )
    return Piece(pieces[-1].choice, whole, pieces[-1].node)
