"""Running requests, as seen by the tasks that made them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from threading import Event
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


class AsyncRequest(RequestHandle[E, T], Generic[E, T]):
    """A request that a task waits for; if the task is cancelled while it waits, the request is cancelled too."""

    def __init__(
        self,
        thread: EngineThread,
        routine: Routine[E, T],
        joining: EventJoining[E],
        request_id: str | None,
    ) -> None:
        """Submit `routine` from a task; see `RequestHandle`."""
        self._arrived = arrived = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is waiting
                loop.call_soon_threadsafe(arrived.set)

        super().__init__(thread, routine, joining, wake, request_id)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    async def _next(self) -> E | None:
        """The next event; None after the last one.

        Raises:
            MarcotError: The request has failed.
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
    """The choices of a request while they are drawn: iterate over their pieces, or wait for all `completions`.

    If it is cancelled, choices that still run end with the finish reason "cancelled" and the tokens drawn so far.

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
        """Submit a `Routines.generate` that checks `is_read` to know whether anybody reads its pieces."""
        self._is_read = is_read
        super().__init__(thread, routine, PIECES, request_id)

    async def opened(self) -> Self:
        """Wait until the request has been checked and queued; return self.

        Raises:
            MarcotError: The request is refused.
        """
        event = await self._next()
        assert isinstance(event, Opened), "the first event is Opened"
        self.prompt_tokens, self.cached_tokens = event
        return self

    async def __anext__(self) -> Piece:
        """The next piece of any choice.

        Raises:
            MarcotError: A choice, and so the request, has failed.
        """
        self._is_read.set()
        event = await self._next()
        if event is None:
            raise StopAsyncIteration
        assert isinstance(event, Piece), "only the first event is Opened"
        return event

    async def completions(self) -> list[Completion]:
        """Wait for all choices to end and return them; cheaper than reading them piece by piece.

        Raises:
            MarcotError: A choice, and so the request, has failed.
        """
        return await self._result()


class Searching(AsyncRequest[Progress, SearchResult], AsyncIterator[Progress]):
    """A running search: iterate over its progress (a slow reader gets only the latest), or await `result`.

    If it is cancelled, `result` raises a `RequestCancelledError`.
    """

    def __init__(self, thread: EngineThread, routine: Routine[Progress, SearchResult], request_id: str | None) -> None:
        """Submit a `Routines.search`."""
        super().__init__(thread, routine, PROGRESS, request_id)

    async def __anext__(self) -> Progress:
        """Wait for new progress of the search and return it.

        Raises:
            MarcotError: The search has failed.
        """
        event = await self._next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def result(self) -> SearchResult:
        """Wait for the search to end and return what it found.

        Raises:
            MarcotError: The search has failed.
        """
        return await self._result()
