"""A part of a rollout, as long as one action."""

from __future__ import annotations

from typing import NamedTuple

from .stretch import Stretch


class Piece(NamedTuple):
    """What one node adds to its parent.

    Attributes:
        token_ids: The tokens.
        text: Their text; the texts along a chain add up to the text of the chain.
        drawn: How many of the tokens the model drew; a reflection's tokens were given.
        confidence: Sum of the drawn tokens' confidences.
        origin: The generated branch that the piece was cut from, up to the piece's end.
    """

    token_ids: tuple[int, ...]
    text: str
    drawn: int
    confidence: float
    origin: Stretch

    def joined(self, later: Piece) -> Piece:
        """The two pieces as one."""
        return Piece(
            self.token_ids + later.token_ids,
            self.text + later.text,
            self.drawn + later.drawn,
            self.confidence + later.confidence,
            later.origin,
        )
