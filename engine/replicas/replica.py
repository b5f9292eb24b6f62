"""The pool's side of a replica, whatever carries the messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from ..usage import Usage
from .messages import Abandon, Assignment, Ready, ReplicaEvent, Report, Request


class Replica(ABC):
    """A worker, which has an engine, and the questions assigned to it.

    Attributes:
        number: Its place in the pool, from 1.
        is_ready: Whether the worker has loaded its model.
        assigned: The questions that it searches, by ticket.
        copies: Tickets of those that another replica began earlier.
        kv_capacity: Number of pages of its KV cache.
        usage: All work that it has done, as of its last report.
        kv_pages: Pages in use, as of its last report.
    """

    def __init__(self, number: int) -> None:
        """Begin with a worker that is loading its model."""
        self.number = number
        self.is_ready = False
        self.assigned: dict[int, Assignment] = {}
        self.copies: set[int] = set()
        self.usage = Usage()
        self.kv_pages = 0
        self.kv_capacity = 0
        self._alone: int | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it could search a question and has none."""
        return self.is_ready and not self.assigned

    def has_room(self, most: int) -> bool:
        """Whether it can take another question if it may search at most `most` at a time."""
        return self.is_ready and len(self.assigned) < most and self._alone not in self.assigned

    def assign(self, assignment: Assignment, *, alone: bool) -> None:
        """Send a question to the worker; with `alone`, it gets no other question until this one has ended.

        If the worker is gone, the question counts as assigned to it, and is lost when `receive` raises the error.
        """
        if alone:
            self._alone = assignment.ticket
        self.assigned[assignment.ticket] = assignment
        with suppress(OSError):
            self._send(assignment)

    def drop(self, ticket: int) -> None:
        """Forget a question that has ended, or is to be abandoned."""
        del self.assigned[ticket]
        self.copies.discard(ticket)

    def abandon(self, tickets: Sequence[int]) -> None:
        """Cancel questions that the worker searches."""
        if not tickets:
            return
        for ticket in tickets:
            self.drop(ticket)
        with suppress(OSError):  # the worker is gone, so there is nothing to cancel
            self._send(Abandon(frozenset(tickets)))

    def receive(self) -> Sequence[Report]:
        """Receive the worker's next messages; blocks.

        Raises:
            EOFError: The worker is gone.
        """
        reports = self._receive()
        for report in reports:
            if isinstance(report, Ready):
                self.is_ready, self.kv_capacity = True, report.kv_capacity
            elif isinstance(report, ReplicaEvent):
                self.usage, self.kv_pages = report.usage, report.kv_pages
        return reports

    @abstractmethod
    def stop(self) -> None:
        """End the worker if it still runs."""

    @abstractmethod
    def farewell(self) -> str:
        """How the worker, which is gone, ended, in words."""

    @abstractmethod
    def replace(self) -> Self:
        """Start a worker in place of this one, which is gone."""

    @abstractmethod
    def _send(self, request: Request) -> None:
        """Send a message to the worker.

        Raises:
            OSError: The worker is gone.
        """

    @abstractmethod
    def _receive(self) -> Sequence[Report]:
        """Wait for messages of the worker.

        Raises:
            EOFError: The worker is gone.
        """
