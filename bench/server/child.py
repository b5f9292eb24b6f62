"""Starts a server for a benchmark, and ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import ROOT

_PAGE = 4096
"""Bytes of a page of memory."""


class Served:
    """A server that runs.

    Attributes:
        url: Its address.
        left: What it said at its end of what was left behind; empty while it runs.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Wait until `process` takes requests."""
        assert process.stdout is not None
        self._process = process
        self._lines = process.stdout
        self.url: str = json.loads(self._lines.readline())
        self.left: dict[str, Any] = {}

    @property
    def memory(self) -> int:
        """Bytes that it holds, pages of mapped files left out."""
        resident, shared = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1:3]
        return (int(resident) - int(shared)) * _PAGE

    @property
    def cpu_s(self) -> float:
        """Seconds of all its threads on a processor since it began."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Let it answer what is open, and end."""
        self._process.send_signal(signal.SIGTERM)
        self.left = json.loads(self._lines.readline())


@contextmanager
def served(model: str, threads: int) -> Iterator[Served]:
    """A server of `model` that computes with so many threads."""
    words = [sys.executable, "-m", "bench.server.served", model, str(threads)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Served(process)
        finally:
            process.kill()
