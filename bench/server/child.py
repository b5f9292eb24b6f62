"""Starts and stops a server process for a benchmark."""

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
"""Bytes per memory page."""


class Served:
    """A running server process.

    Attributes:
        url: Its URL.
        left: The KV handles and readers left when it ended, as it reported them; empty while it runs.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Wait until `process` accepts requests."""
        assert process.stdout is not None
        self._process = process
        self._lines = process.stdout
        self.url: str = json.loads(self._lines.readline())
        self.left: dict[str, Any] = {}

    @property
    def memory(self) -> int:
        """Resident memory in bytes, without mapped files."""
        resident, shared = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1:3]
        return (int(resident) - int(shared)) * _PAGE

    @property
    def cpu_s(self) -> float:
        """CPU time of all its threads since it started, in seconds."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Shut it down with SIGTERM, after it has answered the open requests."""
        self._process.send_signal(signal.SIGTERM)
        self.left = json.loads(self._lines.readline())


@contextmanager
def served(model: str, threads: int) -> Iterator[Served]:
    """Run a server of `model` whose engine has `threads` threads."""
    words = [sys.executable, "-m", "bench.server.served", model, str(threads)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Served(process)
        finally:
            process.kill()
