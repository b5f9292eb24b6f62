"""The parent's side of a replica: one engine in its own process."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any

from ..usage import Usage
from .messages import Abandon, Assignment, LoadFailure, Ready, ReplicaEvent
from .replica_device import ReplicaDevice
from .worker import IGNORED_SIGNALS, work

_CONTEXT = multiprocessing.get_context("spawn")  # forking breaks the threads of torch and OpenMP

_SECONDS_TO_EXIT = 5.0


class Replica:
    """A worker process and the questions assigned to it.

    Attributes:
        connection: The pipe to the worker; it reads end of file once the worker is gone.
        is_ready: Whether the worker has loaded its model.
        assigned: The questions that it searches, by ticket.
        kv_capacity: Number of pages of its KV cache.
        usage: All work that it has done, as of its last report.
        kv_pages: Pages in use, as of its last report.
    """

    def __init__(self, model: str, device: ReplicaDevice, options: Mapping[str, Any]) -> None:
        """Start a process that loads `model` on `device`; see `Engine.load` for the options."""
        self.connection, theirs = _CONTEXT.Pipe()
        arguments = (theirs, model, {**options, "device": device.kind}, device.variables)
        self._process = _CONTEXT.Process(target=work, args=arguments, daemon=True)
        with _signals_blocked():
            self._process.start()
        theirs.close()
        self._alone: int | None = None
        self.is_ready = False
        self.assigned: dict[int, Assignment] = {}
        self.usage = Usage()
        self.kv_pages = 0
        self.kv_capacity = 0

    def has_room(self, most: int) -> bool:
        """Whether it can take another question if it may search at most `most` at a time."""
        return self.is_ready and len(self.assigned) < most and self._alone not in self.assigned

    def assign(self, assignment: Assignment, *, alone: bool) -> None:
        """Send a question to the worker; with `alone`, it gets no other question until this one has ended.

        Raises:
            OSError: The worker is gone.
        """
        if alone:
            self._alone = assignment.ticket
        self.assigned[assignment.ticket] = assignment
        self.connection.send(assignment)

    def abandon(self) -> None:
        """Cancel all questions that the worker searches."""
        if self.assigned:
            self.assigned.clear()
            with suppress(OSError):  # the worker is gone, so there is nothing to cancel
                self.connection.send(Abandon())

    def receive(self) -> Ready | ReplicaEvent | LoadFailure:
        """Receive the worker's next message; blocks.

        Raises:
            EOFError: The worker is gone.
        """
        try:
            message: Ready | ReplicaEvent | LoadFailure = self.connection.recv()
        except OSError as error:
            raise EOFError from error
        if isinstance(message, Ready):
            self.is_ready, self.kv_capacity = True, message.kv_capacity
        elif isinstance(message, ReplicaEvent):
            self.usage, self.kv_pages = message.usage, message.kv_pages
        return message

    def stop(self) -> str:
        """End the process if it still runs, and return how it ended, in words."""
        self.connection.close()
        self._process.join(_SECONDS_TO_EXIT if self.is_ready and not self.assigned else 0.0)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        code = self._process.exitcode or 0
        return f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block the signals that a worker ignores, so that a process started now never dies of one while it imports."""
    resource_tracker.ensure_running()  # else it would be started with the process, and unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
