"""Estimates how long the remaining questions will take."""

from __future__ import annotations

import time

from ..outcome import Outcome
from ..search.protocol import Progress

_LEAST_REST = 0.25
"""A running question is assumed to need at least this share of the estimated cost from now on, however many tokens it
has drawn already."""


class Pace:
    """Tracks the progress of one strategy over a set of questions and estimates the time left.

    The estimate is made in tokens, because the number of tokens does not depend on how many questions run at a time.
    It assumes that a question costs as many tokens as the finished ones did on average.

    Attributes:
        questions: Number of questions.
        finished: Number of questions that have ended, with a result or an error.
    """

    def __init__(self, questions: int) -> None:
        """Start the clock, with `questions` questions to do."""
        self.questions = questions
        self.finished = 0
        self._open: dict[int, Progress] = {}
        self._spent = 0
        self._started = time.monotonic()
        self._ended: float | None = None

    def take(self, event: Progress | Outcome) -> None:
        """Count the next event of `Engine.stream`."""
        if isinstance(event, Progress):
            self._open[event.index] = event
            return
        begun = self._open.pop(event.index, None)
        self.finished += 1
        if event.result is not None and event.result.stats is not None:
            self._spent += event.result.stats.generated_tokens
        elif begun is not None:
            self._spent += begun.generated_tokens
        if self.finished == self.questions:
            self._ended = time.monotonic()

    @property
    def open(self) -> dict[int, Progress]:
        """The latest progress of the running questions by position, in the order of the questions."""
        return dict(sorted(self._open.items()))

    @property
    def not_started(self) -> int:
        """Questions that are neither finished nor running."""
        return max(0, self.questions - self.finished - len(self._open))

    @property
    def seconds(self) -> float:
        """Seconds from the start to the end of the last question, or until now."""
        return max((self._ended or time.monotonic()) - self._started, 1e-9)

    @property
    def tokens(self) -> int:
        """Tokens drawn so far, including those of running questions."""
        return self._spent + sum(self._drawn)

    @property
    def tokens_per_s(self) -> float:
        """Mean number of tokens per second since the start."""
        return self.tokens / self.seconds

    @property
    def cost(self) -> float | None:
        """Estimated tokens per question; None until at least as many questions have finished as are running.

        Questions that need few tokens finish first, which would make the average too low. To correct for that, running
        questions that have already drawn more tokens than that average are included.
        """
        if not self._spent or self.finished < len(self._open):
            return None
        dear = [drawn for drawn in self._drawn if drawn * self.finished > self._spent]
        return (self._spent + sum(dear)) / (self.finished + len(dear))

    def tokens_left(self, cost: float) -> float:
        """Estimated number of tokens still to be drawn if a question takes `cost` tokens."""
        return self.not_started * cost + sum(max(cost - drawn, cost * _LEAST_REST) for drawn in self._drawn)

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds left; None while `cost` is None."""
        cost = self.cost
        return None if cost is None else self.tokens_left(cost) / self.tokens_per_s

    def __str__(self) -> str:
        running = f", {len(self._open)} running" if self._open else ""
        waiting = f", {self.not_started} not started" if self.not_started else ""
        return f"{self.finished} of {self.questions} questions{running}{waiting}"

    @property
    def _drawn(self) -> list[int]:
        # A live display reads this in a thread of its own while events come in.
        return [progress.generated_tokens for progress in list(self._open.values())]


def time_left(seconds: float | None) -> str:
    """A text such as `about 0:12:30 left`."""
    if seconds is None:
        return "no estimate yet"
    whole = round(seconds)
    return f"about {whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02} left"
