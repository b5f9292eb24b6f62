"""Starts and stops server processes for a benchmark."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from .. import ROOT
from ..cpu.other_programs import family, processor_seconds

_PAGE = 4096
"""Bytes per memory page."""

_START_S = 600
"""Seconds in which a server has to load its model; vLLM compiles it first."""

_LOOK_S = 0.1


class ServerProcess:
    """A running server process.

    Attributes:
        url: Its URL.
    """

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        """Look at the server `process` at `url`."""
        self.process = process
        self.url = url

    @property
    def memory(self) -> int:
        """Resident memory in bytes, without mapped files."""
        resident, shared = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1:3]
        return (int(resident) - int(shared)) * _PAGE

    @property
    def cpu_s(self) -> float:
        """CPU time of it and its child processes since it started, in seconds."""
        return sum(map(processor_seconds, family(self.process.pid)))

    def wait(self) -> None:
        """Wait until it is healthy.

        Raises:
            RuntimeError: It has ended, or takes too long.
        """
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if httpx2.get(f"{self.url}/health", timeout=_START_S).is_success:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(_LOOK_S)
        raise RuntimeError(f"{shlex.join(map(str, self.process.args))}: does not answer")  # type: ignore[arg-type]


class Served(ServerProcess):
    """A running server of `bench.server.served`.

    Attributes:
        left: The KV handles and readers left when it ended, as it reported them; empty while it runs.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Wait until `process` accepts requests.

        Raises:
            RuntimeError: It has ended.
        """
        assert process.stdout is not None
        self._lines = process.stdout
        line = self._lines.readline()
        if not line:
            raise RuntimeError(f"{shlex.join(map(str, process.args))}: ended before it served; its errors are above")  # type: ignore[arg-type]
        super().__init__(process, json.loads(line))
        self.left: dict[str, Any] = {}

    def end(self) -> None:
        """Shut it down with SIGTERM, after it has answered the open requests."""
        self.process.send_signal(signal.SIGTERM)
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


@contextmanager
def started(words: list[str], port: int) -> Iterator[ServerProcess]:
    """Run a server program that listens at `port` on this machine; it may not be healthy yet."""
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        try:
            yield ServerProcess(process, f"http://127.0.0.1:{port}")
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with its children


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
