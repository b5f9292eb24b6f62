"""Times the planning of decode steps: `make bench-planner`, or `python -m bench.attention.planner_cost --help`."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Final, NamedTuple

import cpuinfo
import matplotlib as mpl
import numpy as np
import typer
from marcot.engine.tile_planner import TilePlanner
from marcot.kernels import Tiling
from marcot.model.whole_file import write_whole
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from .. import RESULTS, ROOT
from .growing_tree import ALL_FORK, CHANGES, HALF_FORK, NOTHING, Change, GrowingTree

_RESULTS = RESULTS / "planner_cost.json"
_PLOT = ROOT / "docs" / "planner-cost.svg"

NODES: Final = (500, 1000, 2000, 5000, 10_000, 20_000)
"""Nodes on the paths of all branches; a fifth of them are branches."""

BRANCHES_PER_NODE: Final = 1024 / 5000
AT: Final = 5000
"""The size that the bars are about: 1,024 branches."""

MOST_MS: Final = {NOTHING.name: 1.0, HALF_FORK.name: 5.0, ALL_FORK.name: 5.0}
"""Bars: median milliseconds at `AT` nodes."""

MOST_GROWTH: Final = 2.0
"""Bar: milliseconds per node at the largest size, to those at `AT`. What is linear has 1, and somewhat more where the
tree does not fit in the caches any more; what is quadratic has 4."""

ROUNDS: Final = 9

CALM_STEPS: Final = 66
"""Steps in a row in which nothing happens, so that all branches begin pages and all tiles are cut anew."""

TILING = Tiling((2, 4, 9, 18), 66)
GROUP, HEAD_DIM, VALUE_BYTES = 7, 128, 2
"""Marco-o1 and Qwen2-7B on an H100."""


class Timing(NamedTuple):
    """How long planning takes.

    Attributes:
        nodes: On the paths of all branches, before the change.
        branches: In the step; twice as many where the name of the change says so.
        change: What has happened since the step before.
        median_ms: Median of all steps, of each of which the median of all rounds counts.
        slowest_ms: The step that takes longest, likewise.
    """

    nodes: int
    branches: int
    change: str
    median_ms: float
    slowest_ms: float


def measure(nodes: int, change: Change, rounds: int) -> Timing:
    """Time the plan of a step in which `change` has happened, each time to another tree.

    What is timed is `TilePlanner.plan`: all that happens on the host between the scheduler's readers and the finished
    tables. Reserving pages and freezing nodes is the scheduler's, and is not part of it. The unit is processor time of
    the thread, so that whatever else runs on the machine is left out.
    """
    branches = round(nodes * BRANCHES_PER_NODE)
    trees = (GrowingTree(nodes, round(branches * change.before), Random(seed)) for seed in range(rounds))
    seconds = [_steps(tree, change) for tree in trees]
    steps = np.median(np.array(seconds), axis=0) * 1e3
    return Timing(nodes, branches, change.name, float(np.median(steps)), float(steps.max()))


def _steps(tree: GrowingTree, change: Change) -> list[float]:
    """Seconds of each step to be timed."""
    planner = TilePlanner(TILING, GROUP, HEAD_DIM, VALUE_BYTES)
    for _ in range(2):
        planner.plan(tree.readers())
        tree.draw()
    change.happen(tree)
    seconds = []
    gc.collect()
    gc.disable()
    for _ in range(CALM_STEPS if change is NOTHING else 1):
        readers = tree.readers()
        start = time.thread_time()
        planner.plan(readers)
        seconds.append(time.thread_time() - start)
        tree.draw()
    gc.enable()
    return seconds


def missed(timings: Sequence[Timing]) -> list[str]:
    """The bars that are missed."""
    found: list[str] = []
    for name, most in MOST_MS.items():
        by_nodes = {t.nodes: t.median_ms for t in timings if t.change == name}
        nodes = min(by_nodes, key=lambda count: abs(count - AT))
        if by_nodes[nodes] > most:
            found.append(f"{name}: {by_nodes[nodes]:.2f} ms at {nodes} nodes, at most {most}")
        growth = by_nodes[max(by_nodes)] / max(by_nodes) / (by_nodes[nodes] / nodes)
        if growth > MOST_GROWTH:
            found.append(f"{name}: {growth:.2f} times as long per node at {max(by_nodes)}, at most {MOST_GROWTH}")
    return found


def table(timings: Sequence[Timing]) -> Table:
    """One row for each size."""
    title = "milliseconds to plan a decode step, by what has happened since the one before"
    shown = Table(title=title, caption=f"nothing: median and slowest of {CALM_STEPS} steps in a row")
    for name in ("nodes", "branches", *(change.name for change in CHANGES)):
        shown.add_column(name, justify="right")
    for size in sorted({timing.nodes for timing in timings}):
        row = [timing for timing in timings if timing.nodes == size]
        cells = [f"{t.median_ms:.2f}" + (f" / {t.slowest_ms:.2f}" if t.change == NOTHING.name else "") for t in row]
        shown.add_row(str(size), str(row[0].branches), *cells)
    return shown


def plot(timings: Sequence[Timing], path: Path) -> None:
    """Draw a line for each change, over the nodes."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for change in CHANGES:
            points = [(t.nodes, t.median_ms) for t in timings if t.change == change.name]
            axes.plot(*zip(*points, strict=True), marker="o", label=change.name)
        axes.set(title="Planning a decode step", xlabel="nodes, a fifth of them branches", ylabel="milliseconds")
        axes.set(xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(path, metadata={"Date": None})


def write(timings: Sequence[Timing], rounds: int, path: Path) -> None:
    """Write every number."""
    cpu = cpuinfo.get_cpu_info().get("brand_raw", "unknown")
    head = json.dumps({"cpu": cpu, "rounds": rounds, "unit": "milliseconds of processor time"})[1:-1]
    rows = ",\n".join("    " + json.dumps(timing._asdict()) for timing in timings)
    write_whole(path, f'{{\n  {head},\n  "timings": [\n{rows}\n  ]\n}}\n'.encode())


def planner_cost(
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if a bar is missed.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Trees of each size.")] = ROUNDS,
) -> None:
    """Time the planner on trees of several sizes, and plot how that grows."""
    timings = [measure(nodes, change, rounds) for nodes in NODES for change in CHANGES]
    console = Console(width=max(Console().width, 130))
    console.print(table(timings))
    write(timings, rounds, _RESULTS)
    plot(timings, _PLOT)
    failures = missed(timings)
    for line in failures:
        console.print(f"missed: {line}", style="red", highlight=False)
    if check and failures:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(planner_cost)
