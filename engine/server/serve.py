"""Serves an engine at an address until a signal stops it."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI

from ..engine import Engine
from ..errors import InputError
from ..serving.async_engine import AsyncEngine
from .app import create_app
from .settings import ServerSettings

T = TypeVar("T")

_BACKLOG = 2048
"""Most connections that wait to be accepted."""

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_LOOK_S = 0.1
"""Seconds between two looks at whether the open requests still have time; uvicorn looks as often for its own."""

_FLUSH_S = 1.0
"""Seconds that a client has to read the end of an answer that was cut off."""


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens at `host` and `port` (0 picks a free port).

    It listens at once, because until then another server could take the same address without an error. A `Placeholder`
    answers on it until the server runs.

    Raises:
        InputError: The address is in use, or does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        bound.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot listen at {host}, port {port}: {reason}; choose others (--host, --port)") from error
    return bound


def serve(engine: Engine, settings: ServerSettings, at: socket.socket, tell: Callable[[str], None]) -> None:
    """Serve `engine` on the socket `at` until SIGINT, SIGTERM or SIGHUP; open requests are answered before it returns.

    Args:
        engine: The engine, which belongs to the server until this returns.
        settings: Names and limits.
        at: A socket from `listening_socket`; it is closed at the end.
        tell: Called with lines for the user: the server's URL once it accepts requests, and what it waits for at the
            end.
    """
    run_in_loop(_served(engine, settings, at, tell))


async def _served(engine: Engine, settings: ServerSettings, at: socket.socket, tell: Callable[[str], None]) -> None:
    async with AsyncEngine(engine, max_requests=settings.max_requests) as served:
        server = HttpServer(
            create_app(served, settings),
            drain_timeout=settings.drain_timeout,
            cut_off=served.close,
            ready=lambda: tell(f"serving {settings.names[0]} at {address_of(at)}/v1"),
            draining=lambda count: tell(
                f"waiting up to {settings.drain_timeout:g} s for the {count} open request{'s' * (count != 1)}; "
                "another Ctrl-C ends the server at once"
            ),
        )
        await server.serve([at])


def run_in_loop(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, run in uvloop's event loop where that is installed; streams take it less CPU time."""
    with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
        return runner.run(work)


class HttpServer(uvicorn.Server):
    """Serves an app until a signal arrives, then gives open requests some time to end.

    uvicorn's own limit on that time cancels the tasks of requests, which logs a traceback for each and breaks streams
    without a word to the client. This server ends their work instead, so that every answer ends in its own way.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        drain_timeout: float,
        cut_off: Callable[[], Awaitable[None]],
        ready: Callable[[], None],
        draining: Callable[[int], None],
    ) -> None:
        """Make a server for `app`.

        Args:
            app: The application.
            drain_timeout: Seconds that open requests have to end.
            cut_off: Ends the work of those that are still open then.
            ready: Called once the server accepts requests.
            draining: Called with the number of open requests, if there are any when a signal arrives.
        """
        super().__init__(
            uvicorn.Config(app, backlog=_BACKLOG, log_config=None, access_log=False, server_header=False, lifespan="on")
        )
        self._drain_timeout = drain_timeout
        self._cut_off = cut_off
        self._ready = ready
        self._draining = draining
        self._is_hurried = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as in the base class, then call `ready`."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for open requests as in the base class, but cut them off after `drain_timeout` or a second Ctrl-C."""
        if self.server_state.tasks:
            self._draining(len(self.server_state.tasks))
        limit = asyncio.create_task(self._limit())
        try:
            await super().shutdown(sockets)
        finally:
            limit.cancel()
            await asyncio.gather(limit, return_exceptions=True)

    async def _limit(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._drain_timeout
        while loop.time() < until and not self._is_hurried:
            await asyncio.sleep(_LOOK_S)
        await self._cut_off()
        await asyncio.sleep(_FLUSH_S)
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()  # as if the client had hung up, which cancels the request

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals that end a command; those that are ignored, like SIGHUP under nohup, stay ignored.

        The base class knows no SIGHUP, and raises the signals again at the end.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        taken = [number for number in _STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self.handle_exit) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Shut down gracefully, or at once on a second Ctrl-C."""
        self._is_hurried = self._is_hurried or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True


def address_of(at: socket.socket) -> str:
    """The URL of a server that listens on a socket."""
    host, port = at.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
