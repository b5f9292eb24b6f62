"""The question of a search, and the forms in which users may pass it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Number
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError


class Question(NamedTuple):
    """A question, with its right answer if known.

    Attributes:
        text: The question.
        reference: A text that gives the right answer, or None.
    """

    text: str
    reference: str | None = None

    @staticmethod
    def of(question: object) -> Question:
        """Convert a text, a `Question`, or an object with `question` and optionally `answer` to a `Question`.

        A blank `answer` counts as none.

        Raises:
            InputError: It is none of these, or has no text; the message says what to write.
        """
        text, reference = question, None
        if isinstance(question, Mapping) and "question" in question:
            text, reference = question["question"], question.get("answer")
        elif isinstance(question, tuple) and len(question) == 2:
            text, reference = question
        if not isinstance(text, str):
            raise InputError(
                f"question {question!r:.100}: must be a text, Question(text, answer) or "
                '{"question": text, "answer": answer}'
            )
        if reference is None or (isinstance(reference, str) and not reference.strip()):
            return Question(text)
        if isinstance(reference, str):
            return Question(text, reference)
        if isinstance(reference, bool | np.bool_) or not isinstance(reference, Number) or str(reference) == "nan":
            raise InputError(f"question {text!r:.100}: its answer {reference!r:.100} must be a text or a number")
        return Question(text, str(reference))


QuestionLike = str | Question | Mapping[str, Any]
"""Whatever can be read as a question: see `Question.of`."""


def one_or_many(questions: object) -> Iterable[object]:
    """An iterable of questions, not read yet, for one question or many.

    Raises:
        InputError: `questions` is neither a question nor iterable.
    """
    if isinstance(questions, str | Question | Mapping):
        return [questions]
    if isinstance(questions, bytes) or not isinstance(questions, Iterable):
        raise InputError(f"questions={questions!r:.100}: must be a text, a Question, or an iterable of them")
    return questions
