"""Processes that tests start and wait for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def wait_until(done: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until another process has done something, as `done` tells.

    Raises:
        AssertionError: It has not done so after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not done after {seconds:.0f} s"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether there is such a process; zombies do not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
