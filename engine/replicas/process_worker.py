"""The process of a replica: an engine that searches the questions that arrive on its connection."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

from ..engine import Engine
from .messages import LoadFailure, Report
from .question_worker import QuestionWorker, load_engine

IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that reach all processes of a terminal or a job; the parent handles them for its workers."""


def work(connection: Connection, model: str, options: Mapping[str, Any], variables: Mapping[str, str]) -> None:
    """Load `model` and search questions until the parent process closes the connection.

    Ignores Ctrl-C: the parent handles it and then closes its end.

    Args:
        connection: The pipe to the parent, which assigns questions.
        model: Its name or path.
        options: Options of `Engine.load`.
        variables: Environment variables to set before CUDA starts.
    """
    os.environ |= variables
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    loaded = load_engine(model, options)
    if isinstance(loaded, LoadFailure):
        _send(connection, loaded)
        return
    engine, ready = loaded
    _send(connection, ready)
    asyncio.run(_serve(connection, engine))


async def _serve(connection: Connection, engine: Engine) -> None:
    loop = asyncio.get_running_loop()
    worker = QuestionWorker(engine, lambda event: _send(connection, event))

    def read() -> None:
        try:
            while True:
                loop.call_soon_threadsafe(worker.take, connection.recv())
        finally:
            os._exit(0)  # the parent is gone, so nobody waits for the searches that still run

    # In a thread that does nothing else, so that the parent can always send: it may be doing so while it does not read,
    # and while this process waits for it to read.
    Thread(target=read, daemon=True).start()
    await loop.create_future()


def _send(connection: Connection, report: Report) -> None:
    """Send `report` to the parent; end this process if the parent is gone."""
    try:
        connection.send(report)
    except OSError:
        os._exit(0)
