"""Whose turn it is with an engine."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

from .errors import EngineBusyError, ForkedEngineError

_WAIT_S = 0.1
"""How long a thread waits for its turn: longer than another one takes to let go of nodes, too short to be noticed."""

_teams: set[int] = set()
"""Processes, this one or what it was forked from, that run engines on several threads: OpenMP keeps them for a whole
process, and in a fork waits forever for those that did not come along."""


def check_team(threads: int) -> None:
    """See that engines can run on so many threads in this process, and remember it.

    Raises:
        ForkedEngineError: They cannot, as it is a fork of one that does.
    """
    if threads == 1:
        return
    process = os.getpid()
    if _teams and process not in _teams:
        raise ForkedEngineError(
            f"this process is a fork of one that has loaded an engine on several threads, and {threads} threads would "
            "wait for these: load it with threads=1, or start processes with multiprocessing's spawn method"
        )
    _teams.add(process)


class Turn:
    """Lets one thread at a time work with an engine, in the process that loaded it; a context manager.

    Within its turn a thread may take another one: a value that is called by a search may ask the same engine. Handles
    may be let go of at any time and in any thread, by the garbage collector too: where that has to wait it is put off.
    """

    def __init__(self) -> None:
        """Belong to this process."""
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._depth = 0
        self._deferred: deque[Callable[[], None]] = deque()

    def __enter__(self) -> None:
        """Take a turn.

        Raises:
            EngineBusyError: It is another thread's.
            ForkedEngineError: The process is a fork of the one that loaded the engine.
        """
        if os.getpid() != self._process:
            raise ForkedEngineError(
                f"this engine was loaded by process {self._process} and does not work in its fork {os.getpid()}: start "
                "processes with multiprocessing's spawn method, and load an engine in each"
            )
        if not self._lock.acquire(timeout=_WAIT_S):
            raise EngineBusyError(
                "this engine is at work in another thread: it serves one thread at a time, so take turns with a lock, "
                "search many questions in one call, or let an AsyncEngine or a BlockingEngine serve any number of "
                "threads, whose requests share every step; where one does, ask that one"
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

    def defer(self, work: Callable[[], None]) -> None:
        """Do `work` when nobody is at work: now, or at the end of the turn; never in a fork."""
        if os.getpid() != self._process:
            return
        self._deferred.append(work)
        if self._depth == 0 and self._lock.acquire(blocking=False):
            self._depth += 1  # what the garbage collector brings meanwhile waits
            try:
                self.run_deferred()
            finally:
                self._depth -= 1
                self._lock.release()

    def run_deferred(self) -> None:
        """Do now what was put off; only for the thread whose turn it is."""
        while self._deferred:
            self._deferred.popleft()()
