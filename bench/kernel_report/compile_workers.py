"""Worker processes that compile, one job at a time, so that a crash of the compiler loses only one job."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

_CONTEXT = get_context("spawn")
_SHOWN_LINES = 2


class Failure(NamedTuple):
    """Why a job has no result.

    Attributes:
        reason: The exception, or how the process ended; then the first lines of the compiler's output.
    """

    reason: str


class _Worker:
    """A worker process and its current job."""

    def __init__(self, work: Callable[[Any], Any], log: Path) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_serve, args=(work, theirs, log), daemon=True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # only the parent handles Ctrl-C
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.job: Any = None
        self._log = log

    def start(self, job: object) -> None:
        self.job = job
        self.connection.send(job)

    def result(self) -> Any:  # noqa: ANN401  (what `work` returns)
        """Return the result of the job; a Failure if the process died."""
        try:
            return self.connection.recv()
        except EOFError:
            self.process.join()
            return Failure(f"the compiler ended with exit code {self.process.exitcode}{_said(self._log)}")

    def end(self) -> None:
        self.process.terminate()
        self.process.join()
        self.connection.close()


def outcomes(work: Callable[[Any], Any], jobs: Iterable[Any], workers: int) -> Iterator[tuple[Any, Any]]:
    """Yield pairs of a job and `work(job)`, or a `Failure`, in the order in which jobs finish.

    Args:
        work: A module-level function, which is called in worker processes.
        jobs: Its arguments, one per call.
        workers: Number of processes.
    """
    waiting = iter(jobs)
    team: list[_Worker] = []
    with tempfile.TemporaryDirectory() as folder:
        logs = (Path(folder) / str(number) for number in range(1 << 30))
        try:
            while True:
                while len(team) < workers and (job := next(waiting, None)) is not None:
                    team.append(_Worker(work, next(logs)))
                    team[-1].start(job)
                if not team:
                    return
                ready = wait([worker.connection for worker in team])
                for worker in [one for one in team if one.connection in ready]:
                    yield worker.job, worker.result()
                    following = next(waiting, None)
                    if following is not None and worker.process.is_alive():
                        worker.start(following)
                        continue
                    worker.end()
                    team.remove(worker)
                    if following is not None:
                        team.append(_Worker(work, next(logs)))
                        team[-1].start(following)
        finally:
            for worker in team:
                worker.end()


def _serve(work: Callable[[Any], Any], connection: Connection, log: Path) -> None:
    """Main loop of a worker. Redirects stdout and stderr, where compilers print messages, to `log`."""
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        os.truncate(log, 0)
        try:
            result = work(job)
        except Exception as error:
            result = Failure(f"{type(error).__name__}: {_shortened(str(error))}{_said(log)}")
        connection.send(result)


def _said(log: Path) -> str:
    text = log.read_text(errors="replace").strip() if log.exists() else ""
    return "\n" + _shortened(text) if text else ""


def _shortened(text: str) -> str:
    return "\n".join(text.strip().splitlines()[:_SHOWN_LINES])
