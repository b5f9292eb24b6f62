"""The one thread that works with an engine."""

from __future__ import annotations

import atexit
import itertools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

import torch

from ...kernels import MarcotError
from ..checking import check_integer, shown
from ..engine import Engine
from ..errors import (
    EngineBusyError,
    EngineClosedError,
    EngineStepError,
    InputError,
    QueueFullError,
    RequestCancelledError,
)
from ..routines.routine import IDLE_S, Routine
from .engine_stats import EngineStats
from .submission import Submission

MAX_REQUESTS = 1024
"""Default limit of open requests: four times the number of branches that run at once."""

_COUNT_PAGES_S = 0.1
"""Seconds between two counts of the pages of all running paths; a count takes half a millisecond for 256 paths."""

E = TypeVar("E")
T = TypeVar("T")


class EngineThread:
    """Runs the steps of an engine and, between two steps, the submitted routines.

    It holds the engine's turn from start to close, so any other use of the engine raises an `EngineBusyError`. An error
    in one submission affects only that one; an error in a step ends all open submissions, and the thread continues.
    """

    def __init__(self, engine: Engine, max_requests: int) -> None:
        """Start the thread.

        Args:
            engine: The engine, which belongs to this thread until `close`.
            max_requests: How many submissions may be open at a time.

        Raises:
            InputError: `engine` is no engine, or `max_requests` is not an integer >= 1.
            EngineBusyError: The engine is in use, or belongs to another thread.
        """
        if not isinstance(engine, Engine):
            raise InputError(f"engine={shown(engine)}: must be an Engine, such as Engine.load(...) returns")
        self._engine = engine
        self._max_requests = check_integer("max_requests", max_requests, "an integer >= 1", least=1)
        self._threads = torch.get_num_threads()
        self._lock = threading.Lock()
        self._news = engine.routines.news  # a finalizer may put into it at any moment
        self._open: dict[str, Submission[Any, Any]] = {}
        self._arrived: list[Submission[Any, Any]] = []
        self._is_draining = False
        self._is_closing = False
        self._numbers = itertools.count(1)
        self._stats = EngineStats()
        self._kv_usage = 0.0
        self._pages_counted = 0.0
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="marcot-engine", daemon=True)
        self._thread.start()
        started.result()
        atexit.register(self.close)

    # --- any thread --------------------------------------------------------------------------------------------

    def submit(
        self, routine: Routine[E, T], deliver: Callable[[E], None], request_id: str | None = None
    ) -> Submission[E, T]:
        """Queue `routine` for the engine's thread.

        Args:
            routine: The work; it starts before the next step.
            deliver: Called with each of its events, in the engine's thread.
            request_id: A name to pass to `cancel`; generated if None.

        Raises:
            QueueFullError: `max_requests` submissions are open already.
            EngineClosedError: The engine is draining or closed.
            EngineBusyError: The caller is the engine's own thread.
            InputError: `request_id` is not a string, or an open submission has it already.
        """
        if not isinstance(request_id, str | None):
            raise InputError(f"request_id={shown(request_id)}: must be a text or None")
        if threading.current_thread() is self._thread:
            raise EngineBusyError(
                "this engine was asked from its own thread, which would wait for itself: what a search or a call runs "
                "may use the Engine directly"
            )
        with self._lock:
            if not self.is_open:
                raise EngineClosedError("this engine accepts no more requests: it is draining or closed")
            if len(self._open) >= self._max_requests:
                raise QueueFullError(
                    f"{self._max_requests} requests are open already: try again when some have ended, or allow more "
                    "(max_requests)"
                )
            if request_id in self._open:
                raise InputError(f"request_id={shown(request_id)}: another open request has it; give each its own")
            name = f"request-{next(self._numbers)}" if request_id is None else request_id
            submission = Submission(name, routine, deliver, self._wake)
            self._open[name] = submission
            self._arrived.append(submission)
        self._wake()
        return submission

    def cancel(self, request_id: str) -> bool:
        """Ask an open submission to end; False if no open submission has that name."""
        submission = self._open.get(request_id)
        if submission is not None:
            submission.cancel()
        return submission is not None

    @property
    def is_open(self) -> bool:
        """Whether it accepts submissions."""
        return not (self._is_draining or self._is_closing)

    @property
    def stats(self) -> EngineStats:
        """Gauges and counters as of the last step."""
        return self._stats._replace(requests=len(self._open))

    def drain(self) -> list[Future[Any]]:
        """Stop accepting submissions; return the futures of the open ones."""
        with self._lock:
            self._is_draining = True
            return [submission.future for submission in self._open.values()]

    def close(self) -> None:
        """Stop accepting submissions, end the open ones, and give the engine back. Closing twice is harmless."""
        with self._lock:
            self._is_closing = True
        self._wake()
        self._thread.join()
        atexit.unregister(self.close)

    def _wake(self) -> None:
        self._news.put(None)

    # --- the engine's thread -----------------------------------------------------------------------------------

    def _run(self, started: Future[None]) -> None:
        turn = self._engine.tree.turn
        try:
            turn.__enter__()
        except BaseException as error:
            started.set_exception(error)
            return
        running: list[Submission[Any, Any]] = []
        try:
            torch.set_num_threads(self._threads)  # a new thread does not inherit this setting
            started.set_result(None)
            while not self._is_closing:
                running += self._taken(wait=not running)
                running = self._advanced(running)
                running = self._stepped(running)
                turn.run_deferred()
                self._count()
        finally:
            with self._lock:
                self._is_closing = True
            running += self._taken(wait=False)
            self._failed(running, lambda: RequestCancelledError("the engine was closed"))
            turn.__exit__(None, None, None)

    def _taken(self, *, wait: bool) -> list[Submission[Any, Any]]:
        """The submissions that have arrived since the last call; with `wait`, block until the thread is woken."""
        if wait:
            self._news.get()
        while not self._news.empty():
            self._news.get()
        with self._lock:
            arrived, self._arrived = self._arrived, []
        return arrived

    def _advanced(self, running: list[Submission[Any, Any]]) -> list[Submission[Any, Any]]:
        """Resume all of `running`; return those that have not ended."""
        return self._without([submission for submission in running if submission.advance()], running)

    def _stepped(self, running: list[Submission[Any, Any]]) -> list[Submission[Any, Any]]:
        """Run a step, or wait for news if there is no work; return the submissions of `running` that have not ended."""
        scheduler = self._engine.routines.scheduler
        try:
            if not scheduler.idle:
                scheduler.step(self._is_called)
            elif running:
                with suppress(queue.Empty):
                    self._news.get(timeout=IDLE_S)
        except Exception as error:
            cause = error
            return self._failed(running, lambda: _step_error(cause))
        return running

    def _is_called(self) -> bool:
        """Whether a submission has arrived or been cancelled, or slow code has ended, since the last step began."""
        return not self._news.empty()

    def _failed(
        self, running: list[Submission[Any, Any]], error: Callable[[], MarcotError]
    ) -> list[Submission[Any, Any]]:
        """Raise an error in each of `running`; return those that continue in spite of it."""
        return self._without([submission for submission in running if submission.fail(error())], running)

    def _without(
        self, ended: list[Submission[Any, Any]], running: list[Submission[Any, Any]]
    ) -> list[Submission[Any, Any]]:
        """Close the submissions that have `ended`, then resolve their futures; return the rest of `running`."""
        if not ended:
            return running
        with self._lock:
            for submission in ended:
                del self._open[submission.request_id]
        self._count()
        for submission in ended:
            submission.end()
        return [submission for submission in running if submission not in ended]

    def _count(self) -> None:
        """Update the stats."""
        scheduler, usage = self._engine.routines.scheduler, self._engine.usage
        now = time.monotonic()
        if not scheduler.running or now - self._pages_counted >= _COUNT_PAGES_S:
            self._pages_counted = now
            self._kv_usage = scheduler.pages_needed / self._engine.tree.pool.capacity
        self._stats = EngineStats(
            running=scheduler.running,
            waiting=scheduler.waiting,
            kv_usage=self._kv_usage,
            prompt_tokens=self._engine.routines.prompt_tokens,
            cached_tokens=self._engine.routines.cached_tokens,
            generated_tokens=usage.generated_tokens,
            recomputed_tokens=usage.recomputed_tokens,
            preemptions=usage.preemptions,
        )


def _step_error(cause: Exception) -> EngineStepError:
    error = EngineStepError(f"a step of the engine failed: {type(cause).__name__}: {cause}")
    error.__cause__ = cause
    return error


def no_event(event: object) -> None:
    """The `deliver` function of a routine that yields no events."""
    raise AssertionError(f"{event!r} was yielded by a routine that has no events")
