"""Times the engine's host side: `make bench-host`, or `python -m bench.host --help`."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import cpuinfo
import typer
from marcot.model.files.atomic_file import write_atomically
from rich.console import Console
from rich.table import Table

from .. import RESULTS, ROOT
from ..common.remote import Remote
from .checkout import linked

_RESULTS = RESULTS / "host.json"
_PROGRAM = "bench.host.side"

ROUNDS: Final = 5


class Workload(NamedTuple):
    """A workload that both checkouts run.

    Attributes:
        command: A method of `Side`.
        arguments: Its arguments, besides the seed.
        least_gain: Bar: minimum speed relative to the other checkout, which should be one from before rounds.
    """

    command: str
    arguments: Mapping[str, int] = {}
    least_gain: float = 1.0


WORKLOADS: Final = {
    "1 branch": Workload("decode", {"branches": 1}),
    "32 branches": Workload("decode", {"branches": 32}),
    "256 branches": Workload("decode", {"branches": 256}, 8.0),
    "64 prompts": Workload("prompts"),
    "search, MCTS": Workload("mcts", {}, 5.0),
    "search, best of 8": Workload("best_of_n"),
}


class Timing(NamedTuple):
    """The time of a workload on one checkout.

    Attributes:
        workload: A key of `WORKLOADS`.
        side: Which checkout.
        tokens: Tokens of a run, median.
        us_per_token: Microseconds of the host per branch and token, median of all runs.
        device_us_per_token: Microseconds of the canned kernels, which do not count.
    """

    workload: str
    side: str
    tokens: float
    us_per_token: float
    device_us_per_token: float

    @property
    def tokens_per_s(self) -> float:
        """Tokens/s that the host would reach with an infinitely fast device."""
        return 1e6 / self.us_per_token


def measure(sides: Mapping[str, Remote], names: Sequence[str], rounds: int) -> tuple[list[Timing], list[str]]:
    """Run every workload on all sides in turns, `rounds` times after a warm-up.

    Returns:
        The timings, and the names of the workloads in which the sides drew different tokens.
    """
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed in range(rounds + 1):
        print(f"round {seed} of {rounds}" if seed else "warm-up", file=sys.stderr, flush=True)
        for name in names:
            for side, remote in list(sides.items())[:: 1 if seed % 2 else -1]:
                work = WORKLOADS[name]
                runs.setdefault((name, side), []).append(remote.call(work.command, **work.arguments, seed=seed))
    timings = [_timing(name, side, counted[1:]) for (name, side), counted in runs.items()]
    differing = [name for name in names if len({str([run["drawn"] for run in runs[name, s]]) for s in sides}) > 1]
    return timings, differing


def _timing(name: str, side: str, runs: Sequence[Mapping[str, Any]]) -> Timing:
    def median(what: str) -> float:
        return float(statistics.median(run[what] / run["tokens"] for run in runs) * 1e6)

    tokens = statistics.median(run["tokens"] for run in runs)
    return Timing(name, side, tokens, median("seconds"), median("device_seconds"))


def table(timings: Sequence[Timing]) -> Table:
    """Return a table with one row per workload."""
    by_name: dict[str, list[Timing]] = {}
    for timing in timings:
        by_name.setdefault(timing.workload, []).append(timing)
    sides = sorted({timing.side for timing in timings})  # "beside" before "this"
    shown = Table(title="the host's side alone: tokens/s, and microseconds per branch and token")
    shown.add_column("workload")
    shown.add_column("tokens", justify="right")
    for side in sides:
        shown.add_column(side, justify="right")
    if len(sides) > 1:
        shown.add_column("gain", justify="right")
    for name, found in by_name.items():
        of = {timing.side: timing for timing in found}
        cells = [f"{of[side].tokens_per_s:,.0f} ({of[side].us_per_token:.2f} us)" for side in sides]
        gain = [f"{of[sides[0]].us_per_token / of[sides[1]].us_per_token:.2f}x"] if len(sides) > 1 else []
        shown.add_row(name, f"{found[0].tokens:,.0f}", *cells, *gain)
    return shown


def bench_host(
    beside: Annotated[Path | None, typer.Option(help="Another checkout, timed in turns with this one.")] = None,
    this: Annotated[Path, typer.Option(help="The checkout to use as this one.")] = ROOT,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each workload.")] = ROUNDS,
    workloads: Annotated[str, typer.Option(help="Comma-separated; all by default.")] = ",".join(WORKLOADS),
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if a bar is missed.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Write bench/results/host.json.")] = False,
) -> None:
    """Time the host side of the engine, with kernels that cost almost no time."""
    names = [name for name in WORKLOADS if any(name.startswith(pattern.strip()) for pattern in workloads.split(","))]
    if not names:
        raise typer.BadParameter(
            f"--workloads {workloads}: no workload begins like this; there are {'; '.join(WORKLOADS)}"
        )
    checkouts = {"this": this.resolve()} | ({} if beside is None else {"beside": beside.resolve()})
    console = Console(width=max(Console().width, 120))
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        sides = {
            side: held.enter_context(Remote(sys.executable, {"PYTHONPATH": str(linked(path, folder / side))}, _PROGRAM))
            for side, path in checkouts.items()
        }
        timings, differing = measure(sides, names, rounds)
    console.print(table(timings))
    failures = [f"{name}: the sides do not draw the same tokens" for name in differing]
    us = {(timing.workload, timing.side): timing.us_per_token for timing in timings}
    for name in names if beside is not None and check else ():
        gain = us[name, "beside"] / us[name, "this"]
        if gain < WORKLOADS[name].least_gain:
            failures.append(f"{name}: {gain:.2f} times as fast, at least {WORKLOADS[name].least_gain}")
    for line in failures:
        console.print(f"missed: {line}", style="red", highlight=False)
    if update:
        cpu = cpuinfo.get_cpu_info().get("brand_raw", "unknown")
        report = {"cpu": cpu, "rounds": rounds, "timings": [timing._asdict() for timing in timings]}
        write_atomically(_RESULTS, (json.dumps(report, indent=2) + "\n").encode())
    if check and failures:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(bench_host)
