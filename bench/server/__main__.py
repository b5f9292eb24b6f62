"""Load-tests a server, and compares its speed with that of others: `make bench-server`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

import cpuinfo
import typer
from marcot.kernels import MarcotError
from marcot.model import locate
from marcot.model.files.atomic_file import write_atomically
from rich.console import Console

from .. import RESULTS
from . import beside, load, peers, restart

_RESULTS = RESULTS / "server.json"


class Part(StrEnum):
    """What can be measured."""

    LOAD = "load"
    RESTART = "restart"
    BESIDE = "beside"
    PEERS = "peers"


def main(
    model: Annotated[str, typer.Option(help="Model of the tests under load.")] = "smollm2-135m",
    beside_model: Annotated[str, typer.Option(help="Model of the comparisons.")] = "qwen2.5-coder-0.5b",
    clients: Annotated[int, typer.Option(min=1, help="Concurrent clients of the load test.")] = 200,
    seconds: Annotated[float, typer.Option(min=1, help="Length of the load test, in seconds.")] = 300,
    streams: Annotated[int, typer.Option(min=1, help="Concurrent streams of the comparisons.")] = 16,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the engine.")] = os.cpu_count() or 1,
    llama_server: Annotated[
        str, typer.Option(help="Command of a llama-server to compare with, flags included.", envvar="LLAMA_SERVER")
    ] = "",
    vllm_server: Annotated[
        str, typer.Option(help="Command of a vLLM server to compare with, --model included.", envvar="VLLM_SERVER")
    ] = "",
    part: Annotated[list[Part] | None, typer.Option(help="Run only these parts; by default all that can run.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Fail if a limit is exceeded.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Write the results to bench/results/server.json.")] = False,
) -> None:
    """Load-test a server (load), kill and restart it (restart), and time it beside the Python API and other servers."""
    commands = {name: each for name, each in ((peers.LLAMA, llama_server), (peers.VLLM, vllm_server)) if each}
    if part and Part.PEERS in part and not commands:
        raise typer.BadParameter("peers needs LLAMA_SERVER or VLLM_SERVER, the command of a server")
    console = Console()
    faults: list[str] = []
    try:
        small, middle = str(locate(model)), str(locate(beside_model))
    except MarcotError as error:
        raise _ended(error) from None

    def loaded() -> dict[str, Any]:
        found = load.load(small, threads, clients, seconds)
        faults.extend(found.faults())
        return {"model": model, **asdict(found)}

    def restarted() -> dict[str, Any]:
        found = restart.restart(small, threads)
        faults.extend(found.faults())
        return {"model": model, **asdict(found)}

    def compared() -> dict[str, Any]:
        found = beside.beside(middle, threads, streams)
        sentence, exceeded = beside.compared(found)
        console.print(sentence, soft_wrap=True)
        faults.extend(exceeded)
        return {"model": beside_model, **found}

    def among_peers() -> dict[str, Any]:
        found = peers.peers(commands, middle, threads, streams)
        console.print(*peers.sentences(found), sep="\n", soft_wrap=True)
        return {"model": beside_model, **found}

    parts: dict[Part, Callable[[], dict[str, Any]]] = {
        Part.LOAD: loaded,
        Part.RESTART: restarted,
        Part.BESIDE: compared,
    }
    if commands:
        parts[Part.PEERS] = among_peers
    for name in part or parts:
        print(f"measuring {name.value}", file=sys.stderr, flush=True)
        try:
            found = parts[name]()
        except MarcotError as error:
            raise _ended(error) from None
        console.print_json(data={name.value: found})
        if update:
            _write(name.value, threads, found)
    for fault in faults:
        console.print(f"[red]{fault}[/red]")
    if check and faults:
        raise typer.Exit(1)


def _ended(error: MarcotError) -> typer.Exit:
    print(f"error: {error}", file=sys.stderr)
    return typer.Exit(error.exit_code)


def _write(name: str, threads: int, found: dict[str, Any]) -> None:
    """Put one part into the file of results; the others stay."""
    cpu = cpuinfo.get_cpu_info().get("brand_raw", "unknown")
    entry = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {}
    entry[name] = {"date": date.today().isoformat(), "cpu": cpu, "threads": threads, **found}
    write_atomically(_RESULTS, (json.dumps(entry, indent=2) + "\n").encode())


if __name__ == "__main__":
    typer.run(main)
