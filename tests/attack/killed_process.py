"""Processes to be killed. They are forks of this one, so that they need not import torch first."""

from __future__ import annotations

import atexit
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

from marcot.kernels import MarcotError

_LIMIT_S = 120.0
"""A process that still runs after this many seconds, and that nobody has killed, counts as hanging."""


class Ended(NamedTuple):
    """How a process ended.

    Attributes:
        code: Exit code; a negative one is the number of the signal.
        seconds: How long it ran.
        said: Everything it wrote to stdout and stderr.
    """

    code: int
    seconds: float
    said: str


class Process:
    """A fork that does `work` in the folder `place`, in its own process group."""

    def __init__(
        self, work: Callable[[], None], place: Path, environment: Mapping[str, str], most_bytes: int | None = None
    ) -> None:
        """Start the process.

        Args:
            work: The function to call; it ends as a program would.
            place: Its working directory; its output goes to `place.said`, next to it.
            environment: Variables to set.
            most_bytes: No file may grow beyond this size, as if the disk were full.
        """
        self._said = place.with_name(f"{place.name}.said")
        self._said.write_bytes(b"")
        self._began = time.monotonic()
        # An interrupt in the fork must not come before it is caught there: it would run the `finally` of the attack.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._id = os.fork()
            if self._id == 0:
                _be_a_program(work, place, self._said, environment, most_bytes)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        with suppress(OSError):  # the child does this too; whichever comes first counts
            os.setpgid(self._id, self._id)

    def kill(self, signal_number: int, seconds: float) -> Ended:
        """Send a signal when the process is `seconds` old, unless it has ended, and wait for its end."""
        while time.monotonic() < self._began + seconds:
            ended = self._poll()
            if ended is not None:
                return ended
            time.sleep(min(0.002, max(0.0, self._began + seconds - time.monotonic())))
        os.kill(self._id, signal_number)
        return self.wait()

    def wait(self) -> Ended:
        """Wait for its end. A process that hangs is killed and gets the code -9."""
        while time.monotonic() < self._began + _LIMIT_S:
            ended = self._poll()
            if ended is not None:
                return ended
            time.sleep(0.002)
        os.killpg(self._id, signal.SIGKILL)
        os.waitpid(self._id, 0)
        return Ended(-signal.SIGKILL, _LIMIT_S, f"hangs; {self._said.read_text(errors='replace')}")

    def orphans(self, seconds: float) -> bool:
        """Whether any of its children is still running after this many seconds; those are then killed."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                os.killpg(self._id, 0)
            except ProcessLookupError:
                return False
            time.sleep(0.02)
        os.killpg(self._id, signal.SIGKILL)
        return True

    def _poll(self) -> Ended | None:
        found, status = os.waitpid(self._id, os.WNOHANG)
        if not found:
            return None
        seconds = time.monotonic() - self._began
        return Ended(os.waitstatus_to_exitcode(status), seconds, self._said.read_text(errors="replace"))


def _be_a_program(
    work: Callable[[], None], place: Path, said: Path, environment: Mapping[str, str], most_bytes: int | None
) -> NoReturn:
    """Do the work and exit, whatever happens: the caller's code must not continue in the fork."""
    code = 1
    try:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            os.setpgid(0, 0)
            output = os.open(said, os.O_WRONLY | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.chdir(place)
            os.environ.update(environment)
            if most_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
            code = _exit_code(work)
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    finally:
        os._exit(code)


def _exit_code(work: Callable[[], None]) -> int:
    try:
        work()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return 130
    except MarcotError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
