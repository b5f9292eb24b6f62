"""Messages between a replica's worker and the pool that assigns its questions."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from ...kernels import MarcotError
from ..outcome import Outcome
from ..search.protocol import Progress
from ..search.question import Question
from ..usage import Usage


class Assignment(NamedTuple):
    """To the worker: search this question. The arguments are those of `Engine.stream`, with the strategy pickled.

    Attributes:
        ticket: Number of the assignment, unique in its pool, by which events of an abandoned one are recognised.
        position: Position of the question in the run.
    """

    ticket: int
    position: int
    question: Question
    pickled_strategy: bytes
    system: str | None
    instruction: str | None
    day: date


class Abandon(NamedTuple):
    """To the worker: cancel these assignments.

    Attributes:
        tickets: Their tickets.
    """

    tickets: frozenset[int]


class Ready(NamedTuple):
    """From the worker: the model is loaded.

    Attributes:
        settings: `Engine.settings`.
        shows_date: Whether the chat template shows today's date.
        kv_capacity: Number of pages of the KV cache.
    """

    settings: dict[str, str]
    shows_date: bool
    kv_capacity: int


class ReplicaEvent(NamedTuple):
    """From the worker: progress of a question, or its outcome.

    Attributes:
        ticket: Ticket of its assignment.
        event: The progress or the outcome.
        usage: All work of the replica so far.
        kv_pages: Pages of its KV cache in use.
    """

    ticket: int
    event: Progress | Outcome
    usage: Usage
    kv_pages: int


class LoadFailure(NamedTuple):
    """From the worker: the model cannot be loaded."""

    error: MarcotError


Request = Assignment | Abandon
"""Messages to a worker."""

Report = Ready | LoadFailure | ReplicaEvent
"""What a worker tells."""
