"""Recognises questions that take much longer than the others."""

from __future__ import annotations

import time
from collections.abc import Container

_FACTOR = 1.5
"""A straggler has run for this many times the mean of the finished questions. Speculative execution in Spark has the
same default (`spark.speculation.multiplier` before version 4)."""

_LEAST_SECONDS = 2.0
"""A question that has run for less is not worth a second search."""


class Stragglers:
    """Measures how long questions have been searched, by ticket."""

    def __init__(self) -> None:
        """Begin without questions."""
        self._began: dict[int, float] = {}  # in the order in which they began
        self._seconds = 0.0
        self._ended = 0

    def __len__(self) -> int:
        """How many questions are being searched."""
        return len(self._began)

    def begin(self, ticket: int) -> None:
        """Start the clock of a question, again if it was lost."""
        self.forget(ticket)
        self._began[ticket] = time.monotonic()

    def end(self, ticket: int) -> None:
        """Stop the clock of a question."""
        self._seconds += time.monotonic() - self._began.pop(ticket)
        self._ended += 1

    def forget(self, ticket: int) -> None:
        """Leave out a question that is not being searched any more, though it has not ended."""
        self._began.pop(ticket, None)

    def slowest(self, besides: Container[int]) -> int | None:
        """The straggler that has run for longest, of those not in `besides`; None if there is none."""
        if not self._ended:
            return None
        latest = time.monotonic() - max(_LEAST_SECONDS, _FACTOR * self._seconds / self._ended)
        ticket = next((ticket for ticket in self._began if ticket not in besides), None)
        return ticket if ticket is not None and self._began[ticket] < latest else None
