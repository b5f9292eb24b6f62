"""Processes that signals can reach."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def reachable() -> Iterator[None]:
    """Programs that are started here get signals as a terminal gives them.

    Shells start background jobs with SIGINT ignored, and `nohup` does so with SIGHUP; children inherit that, and Python
    then does not listen. Signals that have a handler are as by default in a new program.
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
    """Run `command`, to be reached by signals; its stderr is a pipe."""
    with reachable():
        return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True)
