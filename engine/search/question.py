"""What a search is asked."""

from __future__ import annotations

from typing import NamedTuple


class Question(NamedTuple):
    """A question whose answer may be known.

    Attributes:
        text: The question.
        reference: A text that gives the right answer, or None.
    """

    text: str
    reference: str | None = None

    @staticmethod
    def of(question: str | Question) -> Question:
        """A question without a known answer, if it is a string."""
        return Question(question) if isinstance(question, str) else question
