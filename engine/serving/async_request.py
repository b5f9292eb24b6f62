"""Requests under way, as the tasks that have made them see them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from threading import Event
from types import TracebackType
from typing import Generic, Self, TypeVar

from ..completion import Completion
from ..routines.piece import Opened, Piece, joined
from ..routines.routine import Routine
from ..search.protocol import Progress
from ..search.result import SearchResult
from .engine_thread import EngineThread
from .request_handle import RequestHandle

E = TypeVar("E")
T = TypeVar("T")


class AsyncRequest(RequestHandle[E, T], Generic[E, T]):
    """A request that a task waits for; where that task is cancelled meanwhile, so is the request."""

    def __init__(
        self,
        thread: EngineThread,
        routine: Routine[E, T],
        key: Callable[[E], int],
        join: Callable[[Sequence[E]], E],
        request_id: str | None,
    ) -> None:
        """Submit `routine` from a task; see `RequestHandle`."""
        self._arrived = arrived = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(arrived.set)

        super().__init__(thread, routine, key, join, wake, request_id)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    async def _next(self) -> E | None:
        """The next event; None after the last one.

        Raises:
            MarcotError: What went wrong with the request.
        """
        while True:
            self._arrived.clear()
            event, is_over = self._taken()
            if event is not None or is_over:
                return event
            try:
                await self._arrived.wait()
            except asyncio.CancelledError:
                self.cancel()
                raise

    async def _result(self) -> T:
        try:
            return await asyncio.wrap_future(self._future)
        except asyncio.CancelledError:
            self.cancel()
            raise


class Generation(AsyncRequest[Opened | Piece, list[Completion]], AsyncIterator[Piece]):
    """Choices while they are drawn: iterate over their pieces, or wait for all `completions`.

    Where it is cancelled, what still runs ends as "cancelled" with what it has drawn.

    Attributes:
        prompt_tokens: Tokens of the prompt.
        cached_tokens: How many of them were in the cache.
    """

    prompt_tokens: int
    cached_tokens: int

    def __init__(
        self,
        thread: EngineThread,
        routine: Routine[Opened | Piece, list[Completion]],
        is_read: Event,
        request_id: str | None,
    ) -> None:
        """Submit a `Routines.generate` that looks whether its pieces are read at `is_read`."""
        self._is_read = is_read
        super().__init__(thread, routine, piece_key, join_pieces, request_id)

    async def opened(self) -> Self:
        """It itself, when it is checked and queued.

        Raises:
            MarcotError: It is refused.
        """
        event = await self._next()
        assert isinstance(event, Opened), "that comes first"
        self.prompt_tokens, self.cached_tokens = event
        return self

    async def __anext__(self) -> Piece:
        """The next piece of any choice.

        Raises:
            MarcotError: A choice has failed, and with it the request.
        """
        self._is_read.set()
        event = await self._next()
        if event is None:
            raise StopAsyncIteration
        assert isinstance(event, Piece), "the other one was first"
        return event

    async def completions(self) -> list[Completion]:
        """All choices, when all are over; what is not read piece by piece costs less.

        Raises:
            MarcotError: A choice has failed, and with it the request.
        """
        return await self._result()


class Searching(AsyncRequest[Progress, SearchResult], AsyncIterator[Progress]):
    """A search while it runs: iterate over its progress, of which a slow reader gets the latest, or await the result.

    Where it is cancelled, `result` raises a `RequestCancelledError`.
    """

    def __init__(self, thread: EngineThread, routine: Routine[Progress, SearchResult], request_id: str | None) -> None:
        """Submit a `Routines.search`."""
        super().__init__(thread, routine, progress_key, latest, request_id)

    async def __anext__(self) -> Progress:
        """How far the search is, when there is news.

        Raises:
            MarcotError: It has failed.
        """
        event = await self._next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def result(self) -> SearchResult:
        """What was found, at the end.

        Raises:
            MarcotError: The search has failed.
        """
        return await self._result()


def piece_key(event: Opened | Piece) -> int:
    """Which pieces may be joined: those of a choice."""
    return event.choice if isinstance(event, Piece) else -1


def join_pieces(events: Sequence[Opened | Piece]) -> Opened | Piece:
    """One piece for several of the same choice."""
    first = events[0]
    return first if isinstance(first, Opened) else joined([event for event in events if isinstance(event, Piece)])


def progress_key(progress: Progress) -> int:
    """All progress of a search may be joined."""
    return progress.index


def latest(events: Sequence[Progress]) -> Progress:
    """What is left of several."""
    return events[-1]
