"""A process that Ctrl-C can reach."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence


def start(command: Sequence[str], stdout: int | None = None) -> subprocess.Popen[str]:
    """Run `command` with SIGINT as a terminal gives it.

    Shells start background jobs with the signal ignored; their children inherit that, and Python then does not listen.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a handler becomes the default in a new program
    try:
        return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
