"""Processes that compile beside others."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bench.gpu.peer_build import PeerBuild


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_what_is_compiled_in_time(tmp_path: Path) -> None:
    late, started = tmp_path / "late", time.monotonic()
    sleeps = f"import pathlib, time; time.sleep(5); pathlib.Path({str(late)!r}).touch()"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleeps!r}])"
    build = PeerBuild(
        {
            "right": [program(""), program("")],
            "broken": [program(""), program("import sys; sys.exit(1)")],
            "slow": [program(""), program(child)],
        }
    )
    assert build.ready(3.0) == ["right"]
    assert build.ready(3.0) == ["right"]
    assert time.monotonic() - started < 5
    time.sleep(max(0.0, started + 5.5 - time.monotonic()))
    assert not late.exists(), "a compiler that was started is ended too"
