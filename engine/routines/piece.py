"""Parts of a generation, as they are told while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..completion import Completion
from ..node import Node


class Opened(NamedTuple):
    """A request is checked and queued.

    Attributes:
        prompt_tokens: Tokens of its prompt.
        cached_tokens: How many of them were in the cache.
    """

    prompt_tokens: int
    cached_tokens: int


class Piece(NamedTuple):
    """What one choice has drawn since the last piece of it.

    Attributes:
        choice: Its number, from 0 on.
        drawn: The new tokens only, which may be none, and the text that has become certain: it lags behind the tokens
            where they end inside a character or inside what may become a stop string. The texts of all pieces add up to
            that of the choice. Only the last piece has a `finish_reason`.
        node: The state after the choice, with its last piece, where that was asked for. Release it when done.
    """

    choice: int
    drawn: Completion
    node: Node | None = None


def joined(pieces: Sequence[Piece]) -> Piece:
    """One piece for several of the same choice, in their order."""
    if len(pieces) == 1:
        return pieces[0]
    drawn = [piece.drawn for piece in pieces]
    filled = [each for each in drawn if len(each.token_ids)] or drawn[:1]  # an empty one has no columns
    whole = Completion(
        np.concatenate([each.token_ids for each in filled]),
        np.concatenate([each.logits for each in filled]),
        np.concatenate([each.lse for each in filled]),
        np.concatenate([each.top_ids for each in filled]),
        np.concatenate([each.top_logits for each in filled]),
        "".join(each.text for each in drawn),
        drawn[-1].finish_reason,
        drawn[-1].is_raw,
    )
    return Piece(pieces[-1].choice, whole, pieces[-1].node)
