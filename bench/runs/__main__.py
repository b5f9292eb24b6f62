"""Measures a run of very many questions, a very large tree, and what a question costs the driver of a pool.

`make bench-runs` runs it.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import cpuinfo
import torch
import typer
from marcot.engine.startup import tune_garbage_collector
from marcot.model.files.atomic_file import write_atomically
from rich.console import Console
from rich.table import Table

from .. import RESULTS
from .driver_cost import DriverCost, driver_cost
from .large_tree import BRANCHES, Growth, watch_growth
from .long_run import Stretch, watch_run

_RESULTS = RESULTS / "runs.json"

MOST_GROWTH = 1.05
"""Limit: memory at the end relative to memory after a fifth of the questions, when caches are full."""

MOST_SLOWDOWN = 1.10
"""Limit: CPU time of a question in the last tenth of the run, or of a token in that of a tree's growth, relative to the
third tenth, when caches are full (medians)."""

_STRETCHES = 100
_NODES = 100_000
_REPLICAS = (1, 64, 1000)
_DRIVEN = 3000


def faults_of(parts: list[Stretch], growth: list[Growth]) -> list[str]:
    """What went wrong in a long run and in the growth of a tree, as messages."""
    faults = [f"{part.live_nodes} live nodes, {part.tree_nodes} in the tree" for part in parts if _leaks(part)][:1]
    settled, last = parts[len(parts) // 5], parts[-1]
    if last.memory_mb > MOST_GROWTH * settled.memory_mb:
        faults.append(f"memory grew from {settled.memory_mb:.0f} to {last.memory_mb:.0f} MB")
    costs = {"questions": [part.cpu_ms for part in parts], "nodes": [part.us for part in growth]}
    for what, each in costs.items():
        if slowdown(each) > MOST_SLOWDOWN:
            faults.append(f"the last tenth of the {what} is {slowdown(each):.2f}x as slow as the third")
    return faults


def slowdown(costs: list[float]) -> float:
    """The cost of the parts in the last tenth, relative to that in the third."""
    tenth = max(1, len(costs) // 10)
    return statistics.median(costs[-tenth:]) / statistics.median(costs[2 * tenth : 3 * tenth])


def _leaks(part: Stretch) -> bool:
    return part.live_nodes != part.tree_nodes


def main(
    questions: Annotated[int, typer.Option(min=2, help="Questions of the long run.")] = 100_000,
    nodes: Annotated[int, typer.Option(min=2, help="Nodes of the large tree.")] = _NODES,
    check: Annotated[bool, typer.Option("--check", help="Fail if a limit is missed.")] = False,
    update: Annotated[bool, typer.Option("--update", help=f"Write {_RESULTS.name}.")] = False,
) -> None:
    """Measure, and print tables."""
    torch.set_num_threads(1)
    tune_garbage_collector()
    console = Console()
    costs = []
    for replicas in _REPLICAS:
        print(f"driver of {replicas} replicas: {_DRIVEN:,} questions", file=sys.stderr, flush=True)
        costs.append(driver_cost(replicas, _DRIVEN))
    console.print(_cost_table(costs))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.jsonl"
        parts = watch_run(questions, max(1, questions // _STRETCHES), out, _show)
        megabytes = out.stat().st_size / 1e6
    console.print(_run_table(parts))
    ratio = slowdown([part.cpu_ms for part in parts])
    console.print(f"{questions:,} questions, {megabytes:,.0f} MB of results; last tenth to third: {ratio:.3f}")
    growth = watch_growth(nodes, max(1, nodes // (_STRETCHES * BRANCHES)), _show_growth)
    console.print(_growth_table(growth))
    console.print(f"{nodes:,} nodes; last tenth to third: {slowdown([part.us for part in growth]):.3f}")
    if update:
        report = {
            "machine": {"cpu": cpuinfo.get_cpu_info().get("brand_raw", platform.machine()), "threads": 1},
            "driver": [asdict(cost) for cost in costs],
            "long_run": [asdict(part) for part in parts],
            "large_tree": [asdict(part) for part in growth],
        }
        write_atomically(_RESULTS, json.dumps(report, indent=1).encode() + b"\n")
    faults = faults_of(parts, growth)
    for fault in faults:
        console.print(f"[red]{fault}")
    sys.exit(1 if check and faults else 0)


def _show(part: Stretch) -> None:
    """Say how far the run is, on stderr: a bar's thread would add to the CPU time."""
    print(f"{part.questions:,} questions, {part.cpu_ms:.2f} ms each", file=sys.stderr, flush=True)


def _show_growth(part: Growth) -> None:
    print(f"{part.nodes:,} nodes, {part.us:.1f} us per token", file=sys.stderr, flush=True)


def _cost_table(costs: list[DriverCost]) -> Table:
    table = Table(title="A question's cost for the driver (MCTS with default parameters)")
    for name in ("replicas", "tokens", "bytes out", "bytes in", "bytes written", "CPU ms", "wall ms"):
        table.add_column(name, justify="right")
    for cost in costs:
        sizes = (cost.replicas, cost.tokens, cost.bytes_out, cost.bytes_in, cost.bytes_written)
        table.add_row(*(f"{size:,}" for size in sizes), f"{cost.cpu_ms:.2f}", f"{cost.wall_ms:.2f}")
    return table


def _run_table(parts: list[Stretch]) -> Table:
    table = Table(title="A long run with one engine")
    for name in ("questions", "CPU ms per question", "memory MB", "live nodes", "tree nodes"):
        table.add_column(name, justify="right")
    for part in parts[max(1, len(parts) // 10) - 1 :: max(1, len(parts) // 10)]:
        table.add_row(
            f"{part.questions:,}", f"{part.cpu_ms:.2f}", f"{part.memory_mb:,.0f}", f"{part.live_nodes:,}",
            f"{part.tree_nodes:,}",
        )  # fmt: skip
    return table


def _growth_table(growth: list[Growth]) -> Table:
    table = Table(title=f"A tree that grows while {BRANCHES} branches are active")
    for name in ("nodes", "CPU us per token"):
        table.add_column(name, justify="right")
    for part in growth[max(1, len(growth) // 10) - 1 :: max(1, len(growth) // 10)]:
        table.add_row(f"{part.nodes:,}", f"{part.us:.1f}")
    return table


if __name__ == "__main__":
    typer.run(main)
