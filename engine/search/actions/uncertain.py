"""Actions that end where the model was least confident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...checking import check_count
from .action import Action, Decode

_NEAREST = 4
"""Minimum number of tokens between two forks, because uncertain tokens come in clusters about the same decision."""

_OWN_TOKENS = 32
"""Tokens of an action that is drawn by itself: as many as in the shorter of the paper's mini-steps."""

_SURE = 0.95
"""Tokens with at least this confidence are not worth a fork."""


@dataclass(frozen=True, slots=True)
class Uncertain(Action):
    """Cuts a chain before the tokens of which the model was least confident.

    The top-k of every token is known, so it costs nothing to find the positions where another word was nearly as
    probable. A fork at such a position explores what else the model might have said. A fork at a blank line often does
    not, because the next word is certain there.

    Attributes:
        forks: Maximum forks in one drawn text.
    """

    forks: int

    def __post_init__(self) -> None:
        """Check `forks`.

        Raises:
            InputError: It is not an integer >= 1.
        """
        object.__setattr__(self, "forks", check_count("forks", self.forks, "an integer >= 1", least=1))

    @property
    def name(self) -> str:
        """A name such as `"uncertain-8"`."""
        return f"uncertain-{self.forks}"

    @property
    def max_tokens(self) -> int:
        """Tokens of an action that is drawn by itself, because its uncertain positions are not known beforehand."""
        return _OWN_TOKENS

    def cut(self, token_ids: Sequence[int], decode: Decode, confidences: NDArray[np.float32]) -> list[int]:
        """See `Action.cut`."""
        total = len(token_ids)
        chosen: list[int] = []
        for place in np.argsort(confidences, kind="stable").tolist():
            if len(chosen) == self.forks or confidences[place] >= _SURE:
                break
            if place >= 1 and all(abs(place - other) >= _NEAREST for other in chosen):
                chosen.append(place)
        return [*sorted(chosen), total] if total else []
