"""The worker process of a replica: an engine that searches the questions that arrive on its connection."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import traceback
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any

from ...kernels import MarcotError
from ..engine import Engine
from ..errors import InputError
from ..outcome import Outcome
from ..search.protocol import Searcher
from ..serving.async_engine import AsyncEngine
from ..startup import freeze_imports
from .messages import Abandon, Assignment, LoadFailure, Ready, ReplicaEvent

IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that reach all processes of a terminal or a job; the parent handles them for its workers."""


def work(connection: Connection, model: str, options: Mapping[str, Any], variables: Mapping[str, str]) -> None:
    """Load `model` and search questions until the parent process closes the connection.

    Ignores Ctrl-C: the parent handles it and then closes its end. Any error but a `MarcotError` ends the process.

    Args:
        connection: The pipe to the parent, which assigns questions.
        model: Its name or path.
        options: Options of `Engine.load`.
        variables: Environment variables to set before CUDA starts.
    """
    os.environ |= variables
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    freeze_imports()
    try:
        engine = Engine.load(model, **options)
    except MarcotError as error:
        _send(connection, LoadFailure(_portable(error)))
        return
    _send(connection, Ready(dict(engine.settings), engine.shows_date, engine.kv_pages[1]))
    asyncio.run(_serve(connection, engine))
    os._exit(0)  # nobody waits for the searches that still run


async def _serve(connection: Connection, engine: Engine) -> None:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    serving = AsyncEngine(engine)
    while True:
        try:
            message = await loop.run_in_executor(None, connection.recv)
        except (EOFError, OSError):
            return
        if isinstance(message, Abandon):
            for task in tasks:
                task.cancel()
            continue
        task = loop.create_task(_search(connection, serving, message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _search(connection: Connection, serving: AsyncEngine, assignment: Assignment) -> None:
    """Search one question and report its progress and outcome."""
    ticket, position, question, pickled, system, instruction, day = assignment

    def report(event: Any) -> None:  # noqa: ANN401  (Progress or Outcome)
        _send(connection, ReplicaEvent(ticket, event, serving.engine.usage.copy(), serving.engine.kv_pages[0]))

    try:
        strategy = _load_strategy(pickled)
        searching = await serving.search(question, strategy, system=system, instruction=instruction, date=day)
        async for progress in searching:
            report(replace(progress, index=position))
        report(Outcome(position, question.text, await searching.result(), None))
    except MarcotError as error:
        report(Outcome(position, question.text, None, _portable(error)))
    except Exception:
        # Left to the task, nobody would see it, and the parent would wait for this question for ever.
        traceback.print_exc()
        os._exit(1)


def _send(connection: Connection, message: Ready | ReplicaEvent | LoadFailure) -> None:
    """Send `message` to the parent; end this process if the parent is gone."""
    try:
        connection.send(message)
    except OSError:
        os._exit(0)


@lru_cache(1)  # all questions of a run have the same strategy
def _load_strategy(pickled: bytes) -> Searcher:
    try:
        strategy: Searcher = pickle.loads(pickled)
    except Exception as error:
        raise InputError(f"strategy: cannot be loaded in another process: {type(error).__name__}: {error}") from error
    return strategy


def _portable(error: MarcotError) -> MarcotError:
    """Make `error` picklable: drop its cause and traceback, and use a plain `MarcotError` if it still fails."""
    error = error.with_traceback(None)
    error.__cause__ = error.__context__ = None
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:
        pass
    plain = MarcotError(str(error))
    plain.exit_code = error.exit_code
    return plain
