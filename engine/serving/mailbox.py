"""Events on their way from the engine's thread to whoever reads them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

E = TypeVar("E")


class Mailbox(Generic[E]):
    """Holds the events of one request until they are read.

    The engine never waits for a reader: events that a slow one has not taken yet become one, so that at most one for
    each key waits, and nothing holds more than the request itself does.
    """

    def __init__(self, key: Callable[[E], int], join: Callable[[Sequence[E]], E], wake: Callable[[], None]) -> None:
        """Start empty.

        Args:
            key: Events with the same key may be joined.
            join: One event for several with the same key, in their order.
            wake: Called in the engine's thread when there is something to be read, once until it is.
        """
        self._key = key
        self._join = join
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: dict[int, list[E]] = {}
        self._ended = False
        self._told = False

    @property
    def ended(self) -> bool:
        """Whether no more will come than what waits."""
        return self._ended

    def put(self, event: E) -> None:
        """Leave an event for the reader."""
        with self._lock:
            self._waiting.setdefault(self._key(event), []).append(event)
        self._tell()

    def end(self) -> None:
        """Say that there are no more."""
        self._ended = True
        self._tell()

    def take(self) -> E | None:
        """The event that has waited longest, with all that follow it under its key; None if there is none."""
        with self._lock:
            self._told = False
            if not self._waiting:
                return None
            events = self._waiting.pop(next(iter(self._waiting)))
        return self._join(events)

    def _tell(self) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told:
            self._wake()
