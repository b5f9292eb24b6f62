"""A server on a free local port, in a thread of the test's process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from marcot.engine import Engine
from marcot.engine.errors import QueueFullError
from marcot.engine.server.app import create_app
from marcot.engine.server.serve import HttpServer, address_of, listening_socket, run_in_loop
from marcot.engine.server.settings import ServerSettings
from marcot.engine.serving.async_engine import AsyncEngine


@dataclass
class Clock:
    """A clock that only moves when a test moves it."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class LiveServer:
    """A running server.

    Attributes:
        url: Its address.
        engine: The engine that it serves.
        clock: The clock of its leases.
    """

    url: str
    engine: AsyncEngine
    clock: Clock

    def wait_for(self, holds: Callable[[], bool], seconds: float = 20.0) -> bool:
        """Whether `holds()` becomes true within `seconds`. The engine runs a step after every check."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if holds():
                return True
            with suppress(QueueFullError):
                asyncio.run(self.engine.call(lambda: None))
        return False

    def idle(self) -> bool:
        """Whether all requests end soon."""
        return self.wait_for(lambda: self.engine.stats()[:3] == (0, 0, 0))

    def check(self) -> None:
        """Check the integrity of the KV tree."""
        asyncio.run(self.engine.call(self.engine.engine.tree.check_integrity))


@contextmanager
def live_server(engine: Engine, **settings: Any) -> Iterator[LiveServer]:
    """Serve `engine` until the end of the block."""
    clock = Clock()
    behaviour = ServerSettings(**{"names": ("tiny",), "drain_timeout": 1.0} | settings)
    at = listening_socket("127.0.0.1", 0)
    served = AsyncEngine(engine, max_requests=behaviour.max_requests)
    started = threading.Event()
    server = HttpServer(
        create_app(served, behaviour, clock),
        drain_timeout=behaviour.drain_timeout,
        cut_off=served.close,
        ready=started.set,
        draining=lambda count: None,
    )
    thread = threading.Thread(target=lambda: run_in_loop(server.serve([at])), daemon=True)
    thread.start()
    try:
        assert started.wait(30), "the server did not start"
        yield LiveServer(address_of(at), served, clock)
    finally:
        server.should_exit = True
        thread.join(60)
        asyncio.run(served.close())
        assert not thread.is_alive(), "the server did not end"
