"""Runs calls of the user's slow code, in threads and in an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeAlias

from ..errors import CallableError
from ..search.protocol import Call

MAX_CALLS = 64
"""Maximum calls at once, each in a thread: they wait for other programs and machines, rarely for a core of this one."""

_Function: TypeAlias = "Callable[[list[Any]], Sequence[Any] | Awaitable[Sequence[Any]]]"


class RunningCall:
    """A call that has been submitted to `RunningCalls`.

    Attributes:
        call: What was submitted.
        jobs: Its parts, each with the items of one call of the function.
    """

    def __init__(self, call: Call) -> None:
        """Wait for the results of `call`."""
        self.call = call
        self.jobs = [_Job(items) for items in ([call.items] if call.joins else [[item] for item in call.items])]
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since it was submitted."""
        return time.monotonic() - self._started

    @property
    def finished(self) -> bool:
        """Whether `results` will not wait: all results are there, a part has failed, or it has timed out."""
        done = [job.future for job in self.jobs if job.future.done()]
        has_failed = any(future.exception() is not None for future in done)
        return len(done) == len(self.jobs) or has_failed or self._has_timed_out

    @property
    def _has_timed_out(self) -> bool:
        if self.call.timeout is None:
            return False
        starts = [job.started for job in self.jobs if job.started is not None and not job.future.done()]
        return bool(starts) and time.monotonic() - min(starts) >= self.call.timeout

    def results(self) -> list[Any]:
        """The results of a finished call.

        Raises:
            CallableError: It has timed out.
            BaseException: Whatever the user's code has raised.
        """
        for job in self.jobs:
            if job.future.done() and (error := job.future.exception()) is not None:
                raise error
        if not all(job.future.done() for job in self.jobs):
            raise CallableError(f"{self.call.name} has taken longer than its timeout of {self.call.timeout:g} s")
        return [result for job in self.jobs for result in job.future.result()]


class _Job:
    """Items of one search that go into one call of the function, when that call started, and their results."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.started: float | None = None
        self.future: Future[list[Any]] = Future()
        self.is_cancelled = False


class _Task:
    """One call of a function for one or more jobs, in its own thread."""

    def __init__(self, function: _Function, jobs: list[_Job]) -> None:
        self.function = function
        self.jobs = jobs
        self.coroutine: Future[Any] | None = None
        self.is_abandoned = False

    @property
    def is_unwanted(self) -> bool:
        """Whether nobody waits for its results any more."""
        return all(job.is_cancelled for job in self.jobs)


class RunningCalls:
    """Runs calls beside the engine's thread.

    Threads are daemons, so code that hangs keeps neither a run nor the program from ending. Of a function whose calls
    join, one call runs at a time; the items that come meanwhile go into the next one together.
    """

    def __init__(self, news: SimpleQueue[None]) -> None:
        """Put None into `news` whenever there are results."""
        self._news = news
        self._lock = threading.Lock()
        self._waiting: deque[_Task] = deque()
        self._joining: dict[_Function, list[_Job]] = {}
        self._running: set[_Task] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, call: Call) -> RunningCall:
        """Queue `call`; `start` starts it."""
        running = RunningCall(call)
        with self._lock:
            if call.joins:
                self._joining.setdefault(call.function, []).extend(running.jobs)
            else:
                self._waiting.extend(_Task(call.function, [job]) for job in running.jobs)
        return running

    def start(self) -> None:
        """Start submitted calls while there are threads for them."""
        with self._lock:
            self._start()

    def cancel(self, running: RunningCall) -> None:
        """Forget a call: what has not started is dropped, a coroutine is cancelled, a thread is left running."""
        with self._lock:
            for job in running.jobs:
                job.is_cancelled = True
            self._waiting = deque(task for task in self._waiting if not task.is_unwanted)
            for task in [task for task in self._running if task.is_unwanted]:
                task.is_abandoned = True
                self._running.remove(task)
                if task.coroutine is not None:
                    task.coroutine.cancel()

    def _start(self) -> None:
        busy = {task.function for task in self._running}
        for function in [function for function in self._joining if function not in busy]:
            if jobs := [job for job in self._joining.pop(function) if not job.is_cancelled]:
                self._waiting.append(_Task(function, jobs))
        while self._waiting and len(self._running) < MAX_CALLS:
            task = self._waiting.popleft()
            self._running.add(task)
            for job in task.jobs:
                job.started = time.monotonic()  # a time-out does not count the wait for a thread
            threading.Thread(target=self._run, args=(task,), name="marcot-call", daemon=True).start()

    def _run(self, task: _Task) -> None:
        try:
            self._call(task, task.jobs)
        finally:
            with self._lock:
                self._running.discard(task)
                self._start()
            self._news.put(None)

    def _call(self, task: _Task, jobs: list[_Job]) -> None:
        items = [item for job in jobs for item in job.items]
        try:
            results = task.function(items)
            if isinstance(results, Awaitable):
                results = self._awaited(task, results)
            results = list(results)
            if len(results) != len(items):
                raise CallableError(f"returned {len(results)} results for {len(items)} chains")
        except BaseException as error:
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
            elif not task.is_abandoned:
                for job in jobs:  # one search at a time, so that only the one at fault gets the error
                    if not job.is_cancelled:
                        self._call(task, [job])
            return
        for job in jobs:
            job.future.set_result(results[: len(job.items)])
            del results[: len(job.items)]

    def _awaited(self, task: _Task, waiting: Awaitable[Sequence[Any]]) -> Sequence[Any]:
        async def result() -> Sequence[Any]:
            return await waiting

        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="marcot-coroutines", daemon=True).start()
            task.coroutine = asyncio.run_coroutine_threadsafe(result(), self._loop)
            if task.is_abandoned:
                task.coroutine.cancel()
        return task.coroutine.result()  # type: ignore[no-any-return]
