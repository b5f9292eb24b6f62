"""Processes that receive signals as programs on a terminal do."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def reachable() -> Iterator[None]:
    """Programs started in this context get signals as from a terminal.

    Shells start background jobs with SIGINT ignored, and `nohup` does the same with SIGHUP. Children inherit that, and
    Python then installs no handler. A signal that has a handler here is reset to the default in a new program.
    """
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ignored = [number for number in ends if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def start(command: Sequence[str], stdout: int | None = None) -> subprocess.Popen[str]:
    """Run `command` so that signals reach it; its stderr is a pipe."""
    with reachable():
        return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True)
