"""The worker's side of a replica, for any kind of connection."""

from __future__ import annotations

import asyncio
import os
import pickle
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ...kernels import MarcotError
from ..engine import Engine
from ..errors import InputError
from ..outcome import Outcome
from ..search.protocol import Progress, Searcher
from ..serving.async_engine import AsyncEngine
from ..startup import tune_garbage_collector
from .messages import Abandon, Assignment, LoadFailure, Ready, ReplicaEvent, Request

_MAX_REQUESTS = 2**31
"""Maximum open requests of a worker's engine; in fact, its pool limits them."""


class QuestionWorker:
    """Searches the questions of a replica in one event loop, each as a task of its own.

    An error that is not a `MarcotError` ends the process: left to its task, nobody would see it, and the pool would
    wait for the question for ever.
    """

    def __init__(self, engine: Engine, report: Callable[[ReplicaEvent], None]) -> None:
        """Serve with `engine`, and pass each event of a search to `report`."""
        self._serving = AsyncEngine(engine, max_requests=_MAX_REQUESTS)
        self._report = report
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def take(self, request: Request) -> None:
        """Begin to search a question, or cancel some; to be called in the event loop."""
        if isinstance(request, Abandon):
            for ticket in request.tickets & self._tasks.keys():
                self._tasks[ticket].cancel()
            return
        task = asyncio.get_running_loop().create_task(self._search(request))
        self._tasks[request.ticket] = task
        task.add_done_callback(lambda _: self._tasks.pop(request.ticket, None))

    async def _search(self, assignment: Assignment) -> None:
        ticket, position, question, pickled, system, instruction, day = assignment

        def report(event: Progress | Outcome) -> None:
            engine = self._serving.engine
            self._report(ReplicaEvent(ticket, event, engine.usage.copy(), engine.kv_pages[0]))

        try:
            strategy = _load_strategy(pickled)
            searching = await self._serving.search(question, strategy, system=system, instruction=instruction, date=day)
            async for progress in searching:
                report(replace(progress, index=position))
            report(Outcome(position, question.text, await searching.result(), None))
        except MarcotError as error:
            report(Outcome(position, question.text, None, _portable(error)))
        except Exception:
            traceback.print_exc()
            os._exit(1)


def load_engine(model: str, options: Mapping[str, Any]) -> tuple[Engine, Ready] | LoadFailure:
    """Load the engine of a worker, and report that, or the error."""
    tune_garbage_collector()
    try:
        engine = Engine.load(model, **options)
    except MarcotError as error:
        return LoadFailure(_portable(error))
    return engine, Ready(dict(engine.settings), engine.shows_date, engine.kv_pages[1])


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
