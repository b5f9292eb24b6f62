"""Times the planning of rounds: `make bench-planner`, or `python -m bench.attention.planner_cost --help`."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Final, NamedTuple

import cpuinfo
import numpy as np
import typer
from marcot.engine.plan.tile_planner import TilePlanner
from marcot.kernels import Tiling
from marcot.model.files.atomic_file import write_atomically
from rich.console import Console
from rich.table import Table

from .. import RESULTS
from .growing_tree import GrowingTree

_RESULTS = RESULTS / "planner_cost.json"

BRANCHES: Final = (8, 32, 64, 128, 256, 512, 1024, 4096)
NODES_PER_BRANCH: Final = 5
"""Nodes on the paths of all branches, per branch, as in the recorded searches."""

ROOM: Final = 16
"""Tokens of a round."""

AT, MOST_MS = 256, 2.5
"""Bar: maximum median milliseconds to plan a round of `AT` branches, the most that a decode step of the engine has."""

MOST_GROWTH: Final = 1.5
"""Bar: maximum ratio of the time per branch with the most branches to that with `AT`; it is 1 for linear time."""

ROUNDS: Final = 15

TILING = Tiling((2, 4, 9, 18), 66)
GROUP, HEAD_DIM = 7, 128
"""Query heads per KV head and head_dim of Marco-o1 and Qwen2-7B; `TILING` is for an H100."""


class Timing(NamedTuple):
    """The time of planning a round.

    Attributes:
        branches: Branches in the round.
        nodes: Nodes on their paths.
        tokens: Tokens of these nodes.
        median_ms: Median of all rounds.
    """

    branches: int
    nodes: int
    tokens: int
    median_ms: float


def measure(branches: int, rounds: int) -> Timing:
    """Time planning a round, for `rounds` different trees. Each tree is planned twice, and the second time counts.

    This is because consecutive rounds read mostly the same nodes, which are then in the processor's caches, and mostly
    keep the choice of tiles. The timed function is `TilePlanner.plan`, which covers everything from the scheduler's
    readers to the finished tables. The unit is processor time of the thread, which excludes other programs.
    """
    planner = TilePlanner(TILING, GROUP, HEAD_DIM)
    seconds = []
    nodes = tokens = 0
    for seed in range(rounds):
        tree = GrowingTree(branches * NODES_PER_BRANCH, branches, Random(seed))
        readers = tree.readers()
        nodes, tokens = tree.nodes, tree.tokens
        gc.collect()
        gc.disable()
        planner.plan(readers, ROOM)
        start = time.thread_time()
        planner.plan(readers, ROOM)
        seconds.append(time.thread_time() - start)
        gc.enable()
    return Timing(branches, nodes, tokens, float(np.median(seconds)) * 1e3)


def missed(timings: Sequence[Timing]) -> list[str]:
    """Return one line for each bar that is missed."""
    by_branches = {timing.branches: timing.median_ms for timing in timings}
    most = max(by_branches)
    found: list[str] = []
    if by_branches[AT] > MOST_MS:
        found.append(f"{by_branches[AT]:.2f} ms for {AT} branches, at most {MOST_MS}")
    growth = by_branches[most] / most / (by_branches[AT] / AT)
    if growth > MOST_GROWTH:
        found.append(f"{growth:.2f} times as long per branch with {most}, at most {MOST_GROWTH}")
    return found


def table(timings: Sequence[Timing]) -> Table:
    """Return a table with one row per number of branches."""
    shown = Table(title=f"milliseconds to plan a round of {ROOM} tokens")
    for name in ("branches", "nodes", "tokens", "ms"):
        shown.add_column(name, justify="right")
    for timing in timings:
        shown.add_row(*(f"{part:,}" for part in timing[:3]), f"{timing.median_ms:.2f}")
    return shown


def write(timings: Sequence[Timing], rounds: int, path: Path) -> None:
    """Write all numbers to `path`, as JSON."""
    cpu = cpuinfo.get_cpu_info().get("brand_raw", "unknown")
    head = json.dumps({"cpu": cpu, "rounds": rounds, "room": ROOM, "unit": "milliseconds of processor time"})[1:-1]
    rows = ",\n".join("    " + json.dumps(timing._asdict()) for timing in timings)
    write_atomically(path, f'{{\n  {head},\n  "timings": [\n{rows}\n  ]\n}}\n'.encode())


def planner_cost(
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if a bar is missed.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Number of trees per size.")] = ROUNDS,
) -> None:
    """Time the planner on trees of several sizes."""
    timings = [measure(branches, rounds) for branches in BRANCHES]
    console = Console()
    console.print(table(timings))
    write(timings, rounds, _RESULTS)
    failures = missed(timings)
    for line in failures:
        console.print(f"missed: {line}", style="red", highlight=False)
    if check and failures:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(planner_cost)
