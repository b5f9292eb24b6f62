"""The interface of the contestants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from ..schedule import Schedule


class Delivered(NamedTuple):
    """The results that a contestant has delivered.

    Attributes:
        tokens: Number of tokens drawn.
        tables: For how many of them it gave the five most probable tokens with their log-probabilities.
        confidence: Mean token confidence of those.
    """

    tokens: int
    tables: int
    confidence: float


class Searcher(ABC):
    """A loaded model. A round is `prepare`, which is not timed, and `search`, which is.

    Tokens are drawn with temperature 1 from the 20 best. Branches draw as many tokens as scheduled, end-of-sequence
    tokens or not, and continue what the contestant itself has drawn.

    Attributes:
        weights: The format of its weights, if it chooses that itself.
    """

    weights: str | None = None

    @abstractmethod
    def prepare(self, schedules: Sequence[Schedule]) -> None:
        """Empty all caches, and get ready for `schedules`."""

    @abstractmethod
    def search(self) -> Delivered:
        """Draw every branch of the schedules."""


class Tally:
    """Counts tokens and tables."""

    def __init__(self) -> None:
        self._tokens = self._tables = 0
        self._confidence = 0.0

    def add(self, confidences: Sequence[float]) -> None:
        """Count tokens that have a table."""
        self._tokens += len(confidences)
        self._tables += len(confidences)
        self._confidence += sum(confidences)

    def add_bare(self, tokens: int) -> None:
        """Count tokens without a table."""
        self._tokens += tokens

    def delivered(self) -> Delivered:
        """Return the counts."""
        return Delivered(self._tokens, self._tables, self._confidence / max(1, self._tables))
