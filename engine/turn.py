"""Lets one thread at a time use an engine."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

from .errors import EngineBusyError, ForkedEngineError

_WAIT_S = 0.1
"""Seconds that a thread waits for its turn: longer than another thread needs to release nodes, too short to notice."""

_teams: set[int] = set()
"""Ids of the processes (this one or those it was forked from) that run engines on several threads. OpenMP keeps its
threads for the life of a process; in a fork, it waits forever for threads that were not copied."""


def check_team(threads: int) -> None:
    """Check that engines can run on `threads` threads in this process, and remember that they do.

    Raises:
        ForkedEngineError: They cannot, because the process is a fork of one that runs several threads.
    """
    if threads == 1:
        return
    process = os.getpid()
    if _teams and process not in _teams:
        raise ForkedEngineError(
            f"this process is a fork of one that has loaded an engine on several threads, so {threads} threads would "
            "wait forever: load the engine with threads=1, or use multiprocessing's spawn method"
        )
    _teams.add(process)


class Turn:
    """A context manager that lets one thread at a time use an engine, in the process that loaded it.

    Turns can be nested in one thread, because a value function that a search calls may use the same engine. Handles may
    be released at any time and in any thread, also by the garbage collector; if the engine is in use, the release is
    postponed.
    """

    def __init__(self) -> None:
        """Make a lock that belongs to the current process."""
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._depth = 0
        self._deferred: deque[Callable[[], None]] = deque()

    def __enter__(self) -> None:
        """Take a turn.

        Raises:
            EngineBusyError: Another thread has the turn.
            ForkedEngineError: The process is a fork of the one that loaded the engine.
        """
        if os.getpid() != self._process:
            raise ForkedEngineError(
                f"this engine was loaded by process {self._process} and does not work in its fork {os.getpid()}: use "
                "multiprocessing's spawn method, and load an engine in each process"
            )
        if not self._lock.acquire(timeout=_WAIT_S):
            raise EngineBusyError(
                "another thread is using this engine, which serves one thread at a time: take turns with a lock, "
                "search many questions in one call, or use an AsyncEngine or a BlockingEngine, which serves any "
                "number of threads (if one is open on this engine, call that one)"
            )
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._depth == 1:
                self.run_deferred()
        finally:
            self._depth -= 1
            self._lock.release()
        self._run_if_free()  # work that another thread added between the last look at the queue and the release

    def defer(self, work: Callable[[], None]) -> None:
        """Call `work` when no thread has the turn: now, or at the end of the current turn; never in a fork."""
        if os.getpid() != self._process:
            return
        self._deferred.append(work)
        self._run_if_free()

    def _run_if_free(self) -> None:
        """Run the deferred work if no thread has the turn; whoever has it looks again after giving it up."""
        while self._deferred and self._depth == 0 and self._lock.acquire(blocking=False):
            self._depth += 1  # work that the garbage collector adds meanwhile is queued
            try:
                self.run_deferred()
            finally:
                self._depth -= 1
                self._lock.release()

    def run_deferred(self) -> None:
        """Run the deferred work now. Only the thread that has the turn may call this."""
        while self._deferred:
            self._deferred.popleft()()
