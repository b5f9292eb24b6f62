"""The iterator that streaming calls return."""

from __future__ import annotations

import weakref
from collections.abc import Generator, Iterator
from typing import TypeVar

from .turn import Turn

T_co = TypeVar("T_co", covariant=True)


class Stream(Iterator[T_co]):
    """Events of an engine. It works while the caller waits for the next event, and is free between two events.

    Closing or dropping a stream before its end cancels the unfinished work.
    """

    def __init__(self, turn: Turn, events: Generator[T_co]) -> None:
        """Pass on `events`, computing each within a `turn`."""
        self._turn = turn
        self._events = events
        self._finalizer = weakref.finalize(self, turn.defer, events.close)
        self._finalizer.atexit = False

    def __next__(self) -> T_co:
        """The next event.

        Raises:
            EngineBusyError: The engine is at work in another thread.
            ForkedEngineError: The process is a fork of the one that loaded the engine.
        """
        with self._turn:
            return next(self._events)

    def close(self) -> None:
        """Cancel what is not finished. A second call does nothing."""
        if self._finalizer.detach():
            self._turn.defer(self._events.close)
