"""Background compilation of other programs' kernels before they are needed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from .. import ROOT


class PeerBuild:
    """Compiling processes, grouped by name."""

    def __init__(self, commands: Mapping[str, Sequence[Sequence[str]]]) -> None:
        """Start all commands, given by name."""
        self._processes = {
            name: [
                subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
                for command in same
            ]
            for name, same in commands.items()
        }

    def ready(self, seconds: float) -> list[str]:
        """Wait up to `seconds`, then kill unfinished processes; returns the names whose processes all succeeded."""
        deadline = time.monotonic() + seconds
        for process in (process for same in self._processes.values() for process in same):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0.0))
        done = [name for name, same in self._processes.items() if all(process.poll() == 0 for process in same)]
        self.end()
        return done

    def end(self) -> None:
        """Kill the processes that still run, and the compilers that they started."""
        for process in (process for same in self._processes.values() for process in same):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
