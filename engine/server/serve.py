"""Serves an engine at an address until a signal stops it."""

from __future__ import annotations

import asyncio
import math
import signal
import socket
from collections.abc import Callable, Coroutine
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


def serve(engine: Engine, settings: ServerSettings, at: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve `engine` on the socket `at` until SIGINT or SIGTERM; open requests are answered before it returns.

    Args:
        engine: The engine, which belongs to the server until this returns.
        settings: Names and limits.
        at: A socket from `listening_socket`; it is closed at the end.
        ready: Called with the server's URL once it accepts requests.
    """
    run_in_loop(_served(engine, settings, at, ready))


async def _served(engine: Engine, settings: ServerSettings, at: socket.socket, ready: Callable[[str], None]) -> None:
    async with AsyncEngine(engine, max_requests=settings.max_requests) as served:
        server = http_server(create_app(served, settings), settings, lambda: ready(address_of(at)))
        await server.serve([at])


def run_in_loop(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, run in uvloop's event loop where that is installed; streams take it less CPU time."""
    with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
        return runner.run(work)


def http_server(app: FastAPI, settings: ServerSettings, ready: Callable[[], None]) -> uvicorn.Server:
    """A server for `app` that calls `ready` once it accepts requests."""
    config = uvicorn.Config(
        app,
        backlog=_BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout),
    )
    return _AnnouncingServer(config, ready)


class _AnnouncingServer(uvicorn.Server):
    """A server that announces when it accepts requests, and that does not re-raise the signal that stopped it."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as in the base class, then call `ready`."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Shut down gracefully, or at once on a second Ctrl-C; the base class would re-raise the signal at the end."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def address_of(at: socket.socket) -> str:
    """The URL of a server that listens on a socket."""
    host, port = at.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
