"""The questions of a stream that wait for a replica: new ones, and those whose worker has died."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from itertools import count

from ..errors import InputError, WorkerLostError
from ..outcome import Outcome
from ..search.question import Question
from .messages import Assignment

_MOST_LOSSES = 2
"""A question fails when this many workers have died while searching it alone."""


class AssignmentQueue:
    """Hands out the questions of a stream one by one.

    Attributes:
        outcomes: Outcomes of questions that need no search: they are invalid, or have killed their workers.
        error: The error that the iterator of questions raised; the stream raises it when all others have ended.
    """

    def __init__(
        self, questions: Iterable[object], tickets: count[int], assign: Callable[[int, int, Question], Assignment]
    ) -> None:
        """Queue `questions`.

        Args:
            questions: Anything `Question.of` accepts, taken one by one.
            tickets: Numbers that no other assignment of the pool has.
            assign: Makes the assignment with a ticket of the question at a position.
        """
        self._numbered = enumerate(questions)
        self._tickets = tickets
        self._assign = assign
        self._again: deque[Assignment] = deque()
        self._losses: Counter[int] = Counter()
        self.outcomes: deque[Outcome] = deque()
        self.error: Exception | None = None

    @property
    def has_lost(self) -> bool:
        """Whether the next question is one whose worker has died, so that it must be searched alone."""
        return bool(self._again)

    def next(self) -> Assignment | None:
        """The next assignment, lost ones first; None if there are no more."""
        if self._again:
            return self._again.popleft()
        while self.error is None:
            try:
                position, asked = next(self._numbered)
            except StopIteration:
                return None
            except Exception as error:
                self.error = error
                return None
            try:
                return self._assign(next(self._tickets), position, Question.of(asked))
            except InputError as error:
                text = asked if isinstance(asked, str) else repr(asked)
                self.outcomes.append(Outcome(position, text, None, error))
        return None

    def lose(self, assignments: Iterable[Assignment], ended: str, *, alone: bool) -> None:
        """Queue again what a worker was searching when it died.

        Args:
            assignments: The questions.
            ended: How the worker ended, in words.
            alone: Whether it had one question only, which may have killed it; the second time, that question fails.
        """
        for assignment in assignments:
            self._losses[assignment.position] += alone
            if self._losses[assignment.position] < _MOST_LOSSES:
                self._again.append(assignment)
                continue
            told = f"{_MOST_LOSSES} workers died while they searched it; the last {ended}"
            self.outcomes.append(Outcome(assignment.position, assignment.question.text, None, WorkerLostError(told)))
