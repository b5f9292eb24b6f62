"""Running requests, as seen by the threads that made them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from ..completion import Completion
from ..routines.piece import Opened, Piece
from ..routines.routine import Routine
from ..search.protocol import Progress
from ..search.result import SearchResult
from .engine_thread import EngineThread
from .event_joining import PIECES, PROGRESS, EventJoining
from .request_handle import RequestHandle

E = TypeVar("E")
T = TypeVar("T")
R = TypeVar("R")


class BlockingRequest(RequestHandle[E, T], Generic[E, T]):
    """A request that a thread waits for; a KeyboardInterrupt during the wait cancels the request."""

    def __init__(
        self,
        thread: EngineThread,
        routine: Routine[E, T],
        joining: EventJoining[E],
        request_id: str | None,
    ) -> None:
        """Submit `routine`; see `RequestHandle`."""
        self._arrived = threading.Event()
        super().__init__(thread, routine, joining, self._arrived.set, request_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    def _next(self) -> E | None:
        """The next event; None after the last one.

        Raises:
            MarcotError: The request has failed.
        """
        while True:
            self._arrived.clear()
            event, is_over = self._taken()
            if event is not None or is_over:
                return event
            self._wait(self._arrived.wait)

    def _result(self) -> T:
        return self._wait(self._future.result)

    def _wait(self, wait: Callable[[], R]) -> R:
        try:
            return wait()
        except KeyboardInterrupt:
            self.cancel()
            raise


class BlockingGeneration(BlockingRequest[Opened | Piece, list[Completion]], Iterator[Piece]):
    """The choices of a request while they are drawn; see `Generation`.

    Attributes:
        prompt_tokens: Tokens of the prompt.
        cached_tokens: How many of them were in the cache.
    """

    def __init__(
        self,
        thread: EngineThread,
        routine: Routine[Opened | Piece, list[Completion]],
        is_read: threading.Event,
        request_id: str | None,
    ) -> None:
        """Submit a `Routines.generate` that checks `is_read` to know if its pieces are read; wait until it is queued.

        Raises:
            MarcotError: The request is refused.
        """
        self._is_read = is_read
        super().__init__(thread, routine, PIECES, request_id)
        event = self._next()
        assert isinstance(event, Opened), "the first event is Opened"
        self.prompt_tokens, self.cached_tokens = event

    def __next__(self) -> Piece:
        """The next piece of any choice.

        Raises:
            MarcotError: A choice, and so the request, has failed.
        """
        self._is_read.set()
        event = self._next()
        if event is None:
            raise StopIteration
        assert isinstance(event, Piece), "only the first event is Opened"
        return event

    def completions(self) -> list[Completion]:
        """Wait for all choices to end and return them; see `Generation.completions`."""
        return self._result()


class BlockingSearching(BlockingRequest[Progress, SearchResult], Iterator[Progress]):
    """A running search; see `Searching`."""

    def __init__(self, thread: EngineThread, routine: Routine[Progress, SearchResult], request_id: str | None) -> None:
        """Submit a `Routines.search`."""
        super().__init__(thread, routine, PROGRESS, request_id)

    def __next__(self) -> Progress:
        """Wait for new progress of the search and return it.

        Raises:
            MarcotError: The search has failed.
        """
        event = self._next()
        if event is None:
            raise StopIteration
        return event

    def result(self) -> SearchResult:
        """Wait for the search to end and return what it found; see `Searching.result`."""
        return self._result()
