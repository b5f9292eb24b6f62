"""A replica in a process of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, Self

from .messages import Report, Request
from .process_worker import IGNORED_SIGNALS, work
from .replica import Replica
from .replica_device import ReplicaDevice

_CONTEXT = multiprocessing.get_context("spawn")  # forking breaks the threads of torch and OpenMP

_SECONDS_TO_EXIT = 5.0


class ProcessReplica(Replica):
    """A worker process, which ends when this process does.

    Attributes:
        connection: The pipe to the worker; it reads end of file once the worker is gone.
    """

    def __init__(self, number: int, model: str, device: ReplicaDevice, options: Mapping[str, Any]) -> None:
        """Start a process that loads `model` on `device`; see `Engine.load` for the options."""
        super().__init__(number)
        self._made_of = number, model, device, options
        self.connection, theirs = _CONTEXT.Pipe()
        arguments = (theirs, model, {**options, "device": device.kind}, device.variables)
        self._process = _CONTEXT.Process(target=work, args=arguments, daemon=True)
        with _signals_blocked():
            self._process.start()
        theirs.close()

    def stop(self) -> None:  # noqa: D102  (see `Replica`)
        self.connection.close()
        self._process.join(_SECONDS_TO_EXIT if self.is_idle else 0.0)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def farewell(self) -> str:  # noqa: D102
        self.stop()
        code = self._process.exitcode or 0
        return f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"

    def replace(self) -> Self:  # noqa: D102
        return type(self)(*self._made_of)

    def _send(self, request: Request) -> None:
        self.connection.send(request)

    def _receive(self) -> Sequence[Report]:
        try:
            report: Report = self.connection.recv()
        except OSError as error:
            raise EOFError from error
        return (report,)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block the signals that a worker ignores, so that a process started now never dies of one while it imports."""
    resource_tracker.ensure_running()  # otherwise it would start with the process, and unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
