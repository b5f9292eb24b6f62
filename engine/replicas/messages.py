"""What a replica and the process that feeds it say to each other."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from ...kernels import MarcotError
from ..outcome import Outcome
from ..search.protocol import Progress
from ..search.question import Question
from ..usage import Usage


class Assignment(NamedTuple):
    """Search this question; the arguments are those of `Engine.stream`, the strategy as bytes.

    Attributes:
        ticket: Its number among all assignments of a pool, so that news of an abandoned one is recognised.
        position: That of the question in the run.
    """

    ticket: int
    position: int
    question: Question
    pickled_strategy: bytes
    system: str | None
    instruction: str | None
    day: date


class Abandon(NamedTuple):
    """Give up everything that was assigned before."""


class Ready(NamedTuple):
    """The model is loaded.

    Attributes:
        settings: `Engine.settings`.
        shows_date: Whether the chat template shows today's date.
        kv_capacity: Pages of the KV cache.
    """

    settings: dict[str, str]
    shows_date: bool
    kv_capacity: int


class ReplicaEvent(NamedTuple):
    """Something happened to a question.

    Attributes:
        ticket: Of its assignment.
        event: Progress, or the outcome.
        usage: All work of the replica so far.
        kv_pages: Pages in use.
    """

    ticket: int
    event: Progress | Outcome
    usage: Usage
    kv_pages: int


class LoadFailure(NamedTuple):
    """The model cannot be loaded."""

    error: MarcotError
