"""The server's speed beside the Python API's."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from marcot.engine.server.serve import run_in_loop

from .. import ROOT
from .child import served
from .streams import Streams, prompts, through_server

TURNS = 5
"""Number of timed turns; each runs the server, then the Python API."""

MOST_OVERHEAD = 1.10
"""Limit: time through the server relative to the Python API."""


def beside(model: str, threads: int, streams: int) -> dict[str, Any]:
    """Time the server and the Python API alternately."""
    words = [sys.executable, "-m", "bench.server.python_side", model, str(threads), str(streams)]
    server_turns: list[Streams] = []
    python_turns: list[Streams] = []
    with (
        served(model, threads) as server,
        subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as python,
    ):
        assert python.stdin is not None
        assert python.stdout is not None
        python.stdout.readline()
        for turn in range(TURNS + 1):
            before = server.cpu_s
            through = run_in_loop(through_server(server.url, prompts(streams, turn)))
            server_turns.append(through._replace(cpu_s=server.cpu_s - before))
            print(turn, file=python.stdin, flush=True)
            python_turns.append(Streams(*json.loads(python.stdout.readline())))
        server.end()
        python.stdin.close()
    sides = {"server": server_turns[1:], "python": python_turns[1:]}  # the first turn warms both up
    return {"streams": streams, "turns": TURNS} | {
        side: Streams.median(turns)._asdict() for side, turns in sides.items()
    }


def compared(found: dict[str, Any]) -> tuple[str, list[str]]:
    """How the server compares with the Python API, as a sentence, and the limits that it exceeds, as messages."""
    server, python = found["server"], found["python"]
    slower = python["tokens_per_s"] / server["tokens_per_s"]
    later = server["first_s"] / python["first_s"]
    sentence = (
        f"compared with the Python API, the server takes {slower:.3f} times as long, {later:.3f} times as long to the "
        f"first text, and {server['cpu_s'] / python['cpu_s']:.3f} times the CPU time"
    )
    return sentence, [f"{ratio:.2f} times the Python API" for ratio in (slower, later) if ratio > MOST_OVERHEAD]
