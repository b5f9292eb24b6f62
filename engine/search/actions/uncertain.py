"""Forks where the model hesitated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...checking import check_count
from .action import Action, Decode

_NEAREST = 4
"""Tokens between two forks at least: hesitations come in clusters, all of whose tokens ask the same question."""


@dataclass(frozen=True, slots=True)
class Uncertain(Action):
    """A chain is cut before the tokens that the model was least sure of.

    The top-k of every token is there anyway, so the places where another word was nearly as probable cost nothing to
    find. To go on from one of them is to ask what else the model might have said there, which a fork at a blank line,
    where the next word is often certain, does not.

    Attributes:
        forks: Places at most, in what is drawn at once.
    """

    forks: int

    def __post_init__(self) -> None:
        """Check that it is a number of places.

        Raises:
            InputError: It is none.
        """
        object.__setattr__(self, "forks", check_count("forks", self.forks, "an integer >= 1", least=1))

    @property
    def name(self) -> str:
        """Such as `"uncertain-8"`."""
        return f"uncertain-{self.forks}"

    @property
    def max_tokens(self) -> int:
        """Tokens of an action that is drawn by itself: nobody knows beforehand where the model will hesitate."""
        return 32

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


_SURE = 0.95
"""Confidence of a token whose place is not worth a fork."""
