"""Counts what attention over trees reads: `make bench-bytes`, or `python -m bench.attention.bytes_read --help`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer
from marcot.engine.plan.tile_planner import TilePlanner
from marcot.kernels import Tiling
from marcot.kernels.plan.tile_cost import tile_cost
from marcot.model.files.atomic_file import write_atomically
from rich.console import Console
from rich.table import Table

from .. import RESULTS
from .planned_pieces import planned
from .policies import Device, Policy, deft_flatten, fast_tree, one_level, per_branch
from .traffic import Traffic, traffic
from .workloads import AttentionTree, workloads

_RESULTS = RESULTS / "attention_bytes.json"
_WIDTH = 150

OURS: Final = "ours"
RIVALS: Final[dict[str, Policy]] = {
    "per branch": per_branch,
    "one level": one_level,
    "DeFT-flatten": deft_flatten,
    "FastTree": fast_tree,
}

HEADS, KV_HEADS, HEAD_DIM, VALUE_BYTES = 28, 4, 128, 2
"""Attention of Marco-o1 and Qwen2-7B, with a 16-bit KV cache."""

PROCESSORS, RESIDENT = 132, 2
"""Processors of an H100 or H200, and resident thread blocks per processor."""

BLOCKS = (16, 32, 64, 128)
"""(Row, head) pairs per tile of the kernel."""

MOST_OF_RIVALS = 1.01
"""Bar: maximum ratio of the modelled time of our plan to that of any rival."""


class Counted(NamedTuple):
    """The counts for one workload.

    Attributes:
        tree: The tree.
        rows: Rows per tile in our plan.
        ours: Cost of our plan.
        rivals: Cost of each rival's way to read the tree, with the number of rows per tile that is best for it.
    """

    tree: AttentionTree
    rows: int
    ours: Traffic
    rivals: dict[str, Traffic]

    @property
    def megabytes(self) -> float:
        """Megabytes of K and V of one layer, each read once."""
        return sum(self.tree.tokens) * KV_HEADS * HEAD_DIM * VALUE_BYTES * 2 / 1e6


def count(tree: AttentionTree) -> Counted:
    """Compute the cost of every way to read `tree`."""
    group, rows, tokens = HEADS // KV_HEADS, sum(tree.rows), sum(tree.tokens)
    tiling = Tiling(tuple(block // group for block in BLOCKS), PROCESSORS * RESIDENT // KV_HEADS)
    devices = {each: Device(tile_cost(tiling.workers, each, group, HEAD_DIM), group, KV_HEADS) for each in tiling.rows}
    tile_rows, pieces = planned(tree, TilePlanner(tiling, group, HEAD_DIM))
    rivals = {
        name: min(
            (traffic(way, rows, tokens, device) for device in devices.values() for way in policy(tree, device)),
            key=lambda found: found.us,
        )
        for name, policy in RIVALS.items()
    }
    return Counted(tree, tile_rows, traffic(pieces, rows, tokens, devices[tile_rows]), rivals)


def missed(counted: Counted) -> list[str]:
    """Return one line for each bar that a workload misses."""
    return [
        f"{counted.tree.name}: time, to {name} {counted.ours.us / rival.us:.3f}, at most {MOST_OF_RIVALS}"
        for name, rival in counted.rivals.items()
        if counted.ours.us > MOST_OF_RIVALS * rival.us
    ]


def table(counts: list[Counted]) -> Table:
    """Return a table with one row per workload."""
    title = (
        "a decode step's attention, one layer of Marco-o1 (28 heads, 4 KV heads of 128, 16 bits) on 132 processors\n"
        "tokens read, to each once / tiles / modelled time, that of rivals to ours"
    )
    shown = Table(title=title, padding=(0, 0, 0, 1), show_edge=False)
    for name in ("workload", "rows", "MB", OURS, *RIVALS):
        shown.add_column(name, justify="left" if name == "workload" else "right", no_wrap=name != "workload")
    source = ""
    for one in counts:
        if one.tree.source != source:
            source = one.tree.source
            shown.add_section()
            shown.add_row(f"[bold]{source if source == 'recorded' else f'after {source}'}")
        shown.add_row(
            one.tree.name,
            str(sum(one.tree.rows)),
            f"{one.megabytes:.1f}",
            f"{one.ours.read:.2f} / {one.ours.tiles} / {one.ours.us:.1f} µs",
            *(f"{r.read:.2f} / {r.tiles} / {r.us / one.ours.us:.2f}" for r in one.rivals.values()),
        )
    return shown


def write(counts: list[Counted], path: Path) -> None:
    """Write all numbers to `path`, as JSON."""
    model = {"heads": HEADS, "kv_heads": KV_HEADS, "head_dim": HEAD_DIM, "value_bytes": VALUE_BYTES}
    rows = [
        {
            "workload": one.tree.name,
            "source": one.tree.source,
            "rows": sum(one.tree.rows),
            "nodes": len(one.tree.tokens),
            "tile_rows": one.rows,
            "megabytes": one.megabytes,
            OURS: one.ours._asdict(),
            **{name: rival._asdict() for name, rival in one.rivals.items()},
        }
        for one in counts
    ]
    lines = ",\n".join("    " + json.dumps(row) for row in rows)
    head = json.dumps({**model, "processors": PROCESSORS, "resident": RESIDENT})[1:-1]
    write_atomically(path, f'{{\n  {head},\n  "workloads": [\n{lines}\n  ]\n}}\n'.encode())


def attention_bytes(
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if a bar is missed.")] = False,
) -> None:
    """Count tokens and tiles that attention over trees reads, with five policies, and model the time of each."""
    counts = [count(tree) for tree in workloads()]
    console = Console(width=max(Console().width, _WIDTH))
    console.print(table(counts))
    write(counts, _RESULTS)
    failures = [line for one in counts for line in missed(one)]
    for line in failures:
        console.print(f"missed: {line}", style="red", highlight=False)
    if check and failures:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(attention_bytes)
