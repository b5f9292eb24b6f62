"""Measures how much processor time other programs use while something is timed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

_BUSY = (0, 1, 2, 5, 6, 7)
"""Columns of /proc/stat: user, nice, system, irq, softirq, steal."""

_OWN = (11, 12, 13, 14)
"""Columns of /proc/PID/stat after the name: user and system time of the process, and of its children that ended."""


class OtherPrograms:
    """Context manager that measures the processor time used by programs other than the benchmark.

    Attributes:
        cores: Average number of processors that other programs used.
        seconds: Duration of the measurement.
    """

    def __init__(self, ours: Callable[[], Iterable[int]]) -> None:
        """Count processor time except that of this process and of the processes that `ours` returns."""
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
        """Return the seconds of processor time that other programs have used since the machine started."""
        columns = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
        busy = sum(int(columns[column]) for column in _BUSY)
        return busy / _TICKS_PER_S - sum(processor_seconds(process) for process in (os.getpid(), *self._ours()))


def processor_seconds(process: int) -> float:
    """Return the seconds of processor time that a process has used, its children that ended included."""
    columns = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(int(columns[column]) for column in _OWN) / _TICKS_PER_S


def family(process: int) -> Iterator[int]:
    """Yield a process and all processes that it started."""
    yield process
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except FileNotFoundError:
        return
    for child in children:
        yield from family(int(child))
