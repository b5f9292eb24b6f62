"""Kernels of other programs, which are compiled beside this one before they are wanted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from .. import ROOT


class PeerBuild:
    """Processes that compile, those of one name for one purpose."""

    def __init__(self, commands: Mapping[str, Sequence[Sequence[str]]]) -> None:
        """Start `commands` of each name."""
        self._processes = {
            name: [
                subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
                for command in same
            ]
            for name, same in commands.items()
        }

    def ready(self, seconds: float) -> list[str]:
        """The names whose processes are all done after at most `seconds`; those of the others are ended."""
        deadline = time.monotonic() + seconds
        for process in (process for same in self._processes.values() for process in same):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0.0))
        done = [name for name, same in self._processes.items() if all(process.poll() == 0 for process in same)]
        self.end()
        return done

    def end(self) -> None:
        """End what still runs, with the compilers that it has started."""
        for process in (process for same in self._processes.values() for process in same):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
