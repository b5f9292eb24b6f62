"""Joins the events that a slow reader has not read yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..routines.piece import Opened, Piece, joined
from ..search.protocol import Progress

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class EventJoining(Generic[E]):
    """A rule for joining events.

    Attributes:
        key: Events with the same key may be joined.
        join: Merges several events with the same key, given in order, into one.
    """

    key: Callable[[E], int]
    join: Callable[[Sequence[E]], E]


def _choice(event: Opened | Piece) -> int:
    return event.choice if isinstance(event, Piece) else -1


def _join_pieces(events: Sequence[Opened | Piece]) -> Opened | Piece:
    first = events[0]
    return first if isinstance(first, Opened) else joined([event for event in events if isinstance(event, Piece)])


def _search(progress: Progress) -> int:
    return progress.index


def _latest(events: Sequence[Progress]) -> Progress:
    return events[-1]


PIECES = EventJoining(_choice, _join_pieces)
"""Joins the pieces of each choice."""

PROGRESS = EventJoining(_search, _latest)
"""Keeps the latest progress of each search."""
