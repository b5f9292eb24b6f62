"""Processes that compile in the background."""

from __future__ import annotations

from pathlib import Path

from support.programs.processes import is_running, wait_until

from bench.gpu.peer_build import PeerBuild


def test_what_is_compiled_in_time(tmp_path: Path) -> None:
    number = tmp_path / "number"
    endless = f"sleep 600 > /dev/null & echo $! > {number}; wait"
    build = PeerBuild(
        {
            "right": [["true"], ["true"]],
            "broken": [["true"], ["false"]],
            "slow": [["true"], ["sh", "-c", endless]],
        }
    )
    wait_until(lambda: number.exists() and number.read_text().endswith("\n"))
    assert build.ready(2.0) == ["right"]
    assert build.ready(2.0) == ["right"]
    wait_until(lambda: not is_running(int(number.read_text())))  # the compiler that it started ends too
