"""Load-tests a server with many kinds of clients, and compares its speed with the Python API: `make bench-server`."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import date
from typing import Annotated, Any, Literal

import cpuinfo
import httpx2
import typer
from marcot.engine import Engine, Sampling
from marcot.model import locate
from marcot.model.files.atomic_file import write_atomically
from rich.console import Console

from .. import RESULTS, ROOT
from .child import Served, served
from .clients import TOKENS, LoadClient, Seen
from .overhead import Streams, through_server

_RESULTS = RESULTS / "server.json"

PROMPTS = 24
"""Number of different prompts whose greedy answers are compared."""

TURNS = 5
"""Number of timed turns; each runs the server, then the Python API."""

MOST_OVERHEAD = 1.10
"""Limit: time through the server relative to the Python API."""

MOST_GROWTH = 1.05
"""Limit: memory at the end relative to memory after a third of the time, when caches are full."""

_LOOK_S = 1.0


@dataclass
class Load:
    """Results of a load test.

    Attributes:
        statuses: Number of answers by status.
        first_ms: Time to the first text, 50th and 95th percentile.
        gap_ms: Time between two texts of a stream, 50th and 95th percentile.
        compared: How many greedy answers were compared with the engine's, and how many of them differed.
        broken: Connections that the server broke.
        memory_mb: Memory of the server after a third of the time, and at the end.
        left: KV handles and readers left at the end, after the KV tree's integrity check passed.
    """

    clients: int
    seconds: float
    statuses: dict[int, int]
    first_ms: tuple[float, float]
    gap_ms: tuple[float, float]
    compared: tuple[int, int]
    broken: int
    memory_mb: tuple[float, float]
    left: dict[str, int]

    def faults(self) -> list[str]:
        """Everything that went wrong, as messages."""
        faults = [f"{count} x {status}" for status, count in self.statuses.items() if status >= 500]
        if self.compared[1]:
            faults.append(f"{self.compared[1]} of {self.compared[0]} greedy answers differ")
        if self.broken:
            faults.append(f"{self.broken} connections were broken")
        if self.memory_mb[1] > MOST_GROWTH * self.memory_mb[0]:
            faults.append(f"memory grew from {self.memory_mb[0]:.0f} to {self.memory_mb[1]:.0f} MB")
        if any(self.left.values()):
            faults.append(f"left behind: {self.left}")
        return faults


def load(model: str, threads: int, clients: int, seconds: float) -> Load:
    """Run `clients` clients against a server for `seconds` seconds."""
    expected = _greedy(model, threads)
    seen = Seen()
    with served(model, threads) as server:
        memory = asyncio.run(_all_clients(server, clients, seconds, expected, seen))
        server.end()
    third = memory[len(memory) // 3 : len(memory) // 3 + 5]
    return Load(
        clients=clients,
        seconds=seconds,
        statuses=dict(sorted(seen.statuses.items())),
        first_ms=_percentiles(seen.first),
        gap_ms=_percentiles(seen.gaps),
        compared=(seen.compared, seen.others),
        broken=seen.broken,
        memory_mb=(statistics.median(third) / 1e6, statistics.median(memory[-5:]) / 1e6),
        left=server.left,
    )


def _greedy(model: str, threads: int) -> dict[str, str]:
    """Greedy answers of the engine without a server, by prompt."""
    engine = Engine.load(model, threads=threads)
    sampling = Sampling(temperature=0, max_tokens=TOKENS, ignore_eos=True)
    expected = {}
    for number in range(PROMPTS):
        prompt = f"Question {number}: how many clips are {number} and {number + 7}? Answer:"
        with engine.prefill(prompt) as node:
            [child] = engine.expand(node, 1, sampling)
            expected[prompt] = child.text
    return expected


async def _all_clients(server: Served, clients: int, seconds: float, expected: dict[str, str], seen: Seen) -> list[int]:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=clients)
    memory: list[int] = []

    async def look() -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            memory.append(server.memory)

    async with httpx2.AsyncClient(base_url=server.url, timeout=600, limits=limits) as http:
        looking = asyncio.create_task(look())
        until = time.monotonic() + seconds
        await asyncio.gather(*(LoadClient(http, seed, expected, seen).run(until) for seed in range(clients)))
        looking.cancel()
        await asyncio.sleep(6)  # until the leases of unreleased branches have expired
        assert (await http.get("/health")).status_code == 200
    return memory


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2] * 1e3, ordered[len(ordered) * 95 // 100] * 1e3


def beside(model: str, threads: int, streams: int) -> dict[str, Any]:
    """Time the server and the Python API alternately."""
    words = [sys.executable, "-m", "bench.server.overhead", model, str(threads), str(streams)]
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
            through = asyncio.run(through_server(server.url, streams, turn))
            server_turns.append(through._replace(cpu_s=server.cpu_s - before))
            print(turn, file=python.stdin, flush=True)
            python_turns.append(Streams(*json.loads(python.stdout.readline())))
        server.end()
        python.stdin.close()
    sides = {"server": server_turns[1:], "python": python_turns[1:]}  # the first turn warms both up
    return {"streams": streams} | {side: _median(turns)._asdict() for side, turns in sides.items()}


def _median(turns: list[Streams]) -> Streams:
    return Streams(*map(statistics.median, zip(*turns, strict=True)))


def _slower(compared: dict[str, Any], console: Console) -> list[str]:
    """Print how the server compares with the Python API; return the limits that it exceeds, as messages."""
    server, python = compared["server"], compared["python"]
    slower = python["tokens_per_s"] / server["tokens_per_s"]
    later = server["first_s"] / python["first_s"]
    console.print(
        f"compared with the Python API, the server takes {slower:.3f} times as long, {later:.3f} times as long to the "
        f"first text, and {server['cpu_s'] / python['cpu_s']:.3f} times the CPU time"
    )
    return [f"{ratio:.2f} times the Python API" for ratio in (slower, later) if ratio > MOST_OVERHEAD]


def main(
    model: Annotated[str, typer.Option(help="Model of the load test.")] = "smollm2-135m",
    beside_model: Annotated[str, typer.Option(help="Model of the comparison.")] = "qwen2.5-coder-0.5b",
    clients: Annotated[int, typer.Option(help="Concurrent clients.")] = 200,
    seconds: Annotated[float, typer.Option(help="Length of the load test, in seconds.")] = 300,
    streams: Annotated[int, typer.Option(help="Concurrent streams of the comparison.")] = 16,
    threads: Annotated[int, typer.Option(help="Threads of the engine.")] = os.cpu_count() or 1,
    part: Annotated[Literal["load", "beside"] | None, typer.Option(help="Run only this part.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Fail if a limit is exceeded.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Write the results to bench/results/server.json.")] = False,
) -> None:
    """Load-test a server (load), and compare its speed with the Python API (beside)."""
    console = Console()
    faults: list[str] = []
    measured: dict[str, dict[str, Any]] = {}
    if part != "beside":
        loaded = load(str(locate(model)), threads, clients, seconds)
        console.print(json.dumps(asdict(loaded), indent=2))
        faults += loaded.faults()
        measured["load"] = {"model": model, **asdict(loaded)}
    if part != "load":
        compared = beside(str(locate(beside_model)), threads, streams)
        console.print(json.dumps(compared, indent=2))
        faults += _slower(compared, console)
        measured["beside"] = {"model": beside_model, **compared}
    for fault in faults:
        console.print(f"[red]{fault}[/red]")
    if update:
        cpu = cpuinfo.get_cpu_info().get("brand_raw", "unknown")
        entry = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {}
        entry |= {
            name: {"date": date.today().isoformat(), "cpu": cpu, "threads": threads, **result}
            for name, result in measured.items()
        }
        write_atomically(_RESULTS, (json.dumps(entry, indent=2) + "\n").encode())
    if check and faults:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
