"""Events on their way from the engine's thread to their reader."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from .event_joining import EventJoining

E = TypeVar("E")


class Mailbox(Generic[E]):
    """Holds the events of one request until they are read.

    The engine never waits for a reader: events that a slow reader has not taken yet are joined when it takes them, so
    it receives at most one event per key, and the mailbox never holds more than the request itself.
    """

    def __init__(self, joining: EventJoining[E], wake: Callable[[], None]) -> None:
        """Start empty.

        Args:
            joining: How events are joined.
            wake: Called in the engine's thread when there is something to read; not again until the reader takes it.
        """
        self._joining = joining
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: dict[int, list[E]] = {}
        self._ended = False
        self._told = False

    @property
    def ended(self) -> bool:
        """Whether no more events will arrive; some may still wait to be read."""
        return self._ended

    def put(self, event: E) -> None:
        """Leave an event for the reader."""
        with self._lock:
            self._waiting.setdefault(self._joining.key(event), []).append(event)
        self._tell()

    def end(self) -> None:
        """Mark the end: no more events will arrive."""
        self._ended = True
        self._tell()

    def take(self) -> E | None:
        """The oldest waiting event, joined with all others of its key; None if none waits."""
        with self._lock:
            self._told = False
            if not self._waiting:
                return None
            events = self._waiting.pop(next(iter(self._waiting)))
        return self._joining.join(events)

    def _tell(self) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told:
            self._wake()
