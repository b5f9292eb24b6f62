"""How much of the machine other programs take while something is timed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

_BUSY = (0, 1, 2, 5, 6, 7)
"""Columns of /proc/stat: user, nice, system, irq, softirq, steal."""

_OWN = (11, 12, 13, 14)
"""Columns of /proc/PID/stat after the name: user and system time, the process's and that of its children that ended."""


class Bystanders:
    """While it is entered, watches the processors.

    Attributes:
        cores: How many processors programs outside of the benchmark used, on average.
        seconds: How long it was entered.
    """

    def __init__(self, ours: Callable[[], Iterable[int]]) -> None:
        """Count what is not used by this process or by the processes that `ours` returns."""
        self._ours = ours
        self.cores = self.seconds = 0.0

    def __enter__(self) -> Self:
        self._start = time.perf_counter()
        self._before = self._others()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._start
        self.cores = max(0.0, (self._others() - self._before) / self.seconds)

    def _others(self) -> float:
        """Seconds of processor time that others have used since the machine started."""
        columns = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
        busy = sum(int(columns[column]) for column in _BUSY)
        return (busy - sum(_ticks(process) for process in (os.getpid(), *self._ours()))) / _TICKS_PER_S


def _ticks(process: int) -> int:
    columns = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(int(columns[column]) for column in _OWN)
