"""A part of a rollout, as long as one action."""

from __future__ import annotations

import math
from typing import NamedTuple

from .signal import Signal
from .stretch import Stretch


class Piece(NamedTuple):
    """What one node adds to its parent.

    Attributes:
        token_ids: The tokens.
        text: Their text; the texts along a chain add up to the text of the chain.
        kind: Kind of action, such as `"step"`.
        drawn: How many of the tokens the model drew; a reflection's tokens were given.
        signal: What the model said of each token.
        origin: The generated branch that the piece was cut from, up to the piece's end.
    """

    token_ids: tuple[int, ...]
    text: str
    kind: str
    drawn: int
    signal: Signal
    origin: Stretch

    @property
    def confidences(self) -> tuple[float | None, ...]:
        """Confidence of each token; None for a given one."""
        return tuple(None if math.isnan(each) else each for each in self.signal.confidences.tolist())

    def joined(self, later: Piece) -> Piece:
        """The two pieces as one."""
        return Piece(
            self.token_ids + later.token_ids,
            self.text + later.text,
            self.kind,
            self.drawn + later.drawn,
            Signal.joined([self.signal, later.signal]),
            later.origin,
        )

    @staticmethod
    def prompt(origin: Stretch) -> Piece:
        """The root's: nothing but the state after the prompt."""
        return Piece((), "", "", 0, Signal.joined([]), origin)
