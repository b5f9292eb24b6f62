"""How the search of one question ended."""

from __future__ import annotations

from dataclasses import dataclass

from ..kernels import MarcotError
from .search.result import SearchResult
from .text.brief import brief_record


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished question: a result, or the error that stopped it.

    Attributes:
        index: Position of the question in its call.
        question: The question as the user wrote it.
        result: The result, or None after an error.
        error: The error, or None.
    """

    index: int
    question: str
    result: SearchResult | None
    error: MarcotError | None

    def __repr__(self) -> str:
        return brief_record(self)
