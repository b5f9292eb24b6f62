"""The one thread that works with an engine."""

from __future__ import annotations

import atexit
import itertools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
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
from ..routines.routine import Routine
from .engine_stats import EngineStats
from .submission import Submission

MAX_REQUESTS = 1024
"""Requests that may be open at a time by default: four times as many branches as run at once."""

_COUNT_PAGES_S = 0.1
"""Seconds between two looks at every running path: half a millisecond with 256 of them."""

E = TypeVar("E")
T = TypeVar("T")


class EngineThread:
    """Runs the steps of an engine, and between two of them whatever was submitted.

    It has the engine's turn from beginning to end, so that whoever else uses the engine gets an `EngineBusyError`. What
    goes wrong with one submission is its own; an error of a step itself ends all that are open, and the thread goes on.
    """

    def __init__(self, engine: Engine, max_requests: int) -> None:
        """Start the thread.

        Args:
            engine: Belongs to this thread until `close`.
            max_requests: Submissions that may be open at a time.

        Raises:
            InputError: `max_requests` is no integer >= 1.
            EngineBusyError: The engine is at work, or belongs to another thread.
        """
        self._engine = engine
        self._max_requests = check_integer("max_requests", max_requests, "an integer >= 1", least=1)
        self._threads = torch.get_num_threads()
        self._lock = threading.Lock()
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()  # a finalizer may put into it at any moment
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
        """Let `routine` run with the engine.

        Args:
            routine: It begins before the next step.
            deliver: Called with its events, in the engine's thread.
            request_id: Its name, for `cancel`; made up if None.

        Raises:
            QueueFullError: As many are open as may be.
            EngineClosedError: The engine is draining or closed.
            EngineBusyError: It is the engine's thread that asks.
            InputError: `request_id` is no text, or an open one has it.
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
                raise EngineClosedError("this engine takes no more requests: it is draining or closed")
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
        """Ask for the end of an open submission; False if there is none of that name."""
        submission = self._open.get(request_id)
        if submission is not None:
            submission.cancel()
        return submission is not None

    @property
    def is_open(self) -> bool:
        """Whether it takes submissions."""
        return not (self._is_draining or self._is_closing)

    @property
    def stats(self) -> EngineStats:
        """As of the last step."""
        return self._stats._replace(requests=len(self._open))

    def drain(self) -> list[Future[Any]]:
        """Take no more submissions; the futures of those that are open."""
        with self._lock:
            self._is_draining = True
            return [submission.future for submission in self._open.values()]

    def close(self) -> None:
        """Take no more submissions, end those that are open, and give the engine back. Doing it twice is harmless."""
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
            torch.set_num_threads(self._threads)  # which a new thread does not inherit
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
        """What has arrived since; with `wait`, when there is something new."""
        if wait:
            self._news.get()
        while not self._news.empty():
            self._news.get()
        with self._lock:
            arrived, self._arrived = self._arrived, []
        return arrived

    def _advanced(self, running: list[Submission[Any, Any]]) -> list[Submission[Any, Any]]:
        """Resume `running`; those that go on."""
        return self._without([submission for submission in running if submission.advance()], running)

    def _stepped(self, running: list[Submission[Any, Any]]) -> list[Submission[Any, Any]]:
        """Run a step, if there is something to run; those of `running` that go on."""
        scheduler = self._engine.routines.scheduler
        try:
            if not scheduler.idle:
                scheduler.step()
        except Exception as error:
            cause = error
            return self._failed(running, lambda: _step_error(cause))
        return running

    def _failed(
        self, running: list[Submission[Any, Any]], error: Callable[[], MarcotError]
    ) -> list[Submission[Any, Any]]:
        """Raise an error in each of `running`; those that go on nevertheless."""
        return self._without([submission for submission in running if submission.fail(error())], running)

    def _without(
        self, ended: list[Submission[Any, Any]], running: list[Submission[Any, Any]]
    ) -> list[Submission[Any, Any]]:
        """Let go of those of `running` that have `ended`, and then say that they have; return the others."""
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
        """Write down how things stand."""
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
    """Where events go of a routine that has none."""
    raise AssertionError(f"{event!r} comes from a routine without events")
