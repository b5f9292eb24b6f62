"""Counts what attention over trees reads: `make bench-bytes`, or `python -m bench.attention.bytes_read --help`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer
from marcot.engine.tile_balance import least_end
from marcot.engine.tile_planner import TilePlanner
from marcot.kernels import Tiling
from marcot.model.whole_file import write_whole
from rich.console import Console
from rich.table import Table

from .. import RESULTS
from .planned_pieces import planned
from .policies import Device, Policy, deft_flatten, fast_tree, one_level, per_branch
from .traffic import Traffic, lower_bound, traffic
from .workloads import AttentionTree, workloads

_RESULTS = RESULTS / "attention_bytes.json"
_WIDTH = 150

OURS: Final = "ours"
PER_BRANCH: Final = "per branch"
RIVALS: Final[dict[str, Policy]] = {
    PER_BRANCH: per_branch,
    "one level": one_level,
    "DeFT-flatten": deft_flatten,
    "FastTree": fast_tree,
}

HEADS, KV_HEADS, HEAD_DIM, VALUE_BYTES = 28, 4, 128, 2
"""Marco-o1 and Qwen2-7B, with a cache in 16 bits."""

PROCESSORS, RESIDENT = 132, 2
"""An H100, whose processors hold two thread blocks each."""

BLOCKS = (16, 32, 64, 128)
"""(Row, head) pairs of the kernel's tiles."""

MOST_BYTES, MOST_IMBALANCE, MOST_APART = 1.05, 1.15, 1.02
"""Bars: bytes to the bound on recorded trees; the last worker's end to the earliest that is possible; bytes and end
where nothing is shared, to per-branch attention."""

MOST_OF_RIVALS = 1.01
"""Bars: the end of our plan to that of any rival's, apart from what the order decides in which tiles are dealt out, and
all that our plan costs before its runs are cut for balance."""


class Counted(NamedTuple):
    """One workload.

    Attributes:
        tree: What is read.
        block: Rows of a tile.
        bound: Bytes of K and V of one KV head and layer if each is read once.
        ours: The plan.
        whole: The plan before its runs are cut for balance.
        least_end: When the last worker would end at the earliest, however the runs of our plan were cut.
        rivals: The same tree read in their ways.
    """

    tree: AttentionTree
    block: int
    bound: float
    ours: Traffic
    whole: Traffic
    least_end: float
    rivals: dict[str, Traffic]

    @property
    def imbalance(self) -> float:
        """Our last worker's end to the earliest that is possible."""
        return self.ours.end / self.least_end


def count(tree: AttentionTree) -> Counted:
    """Read `tree` in every way."""
    group = HEADS // KV_HEADS
    tiling = Tiling(tuple(block // group for block in BLOCKS), PROCESSORS * RESIDENT // KV_HEADS)
    planner = TilePlanner(tiling, group, HEAD_DIM, VALUE_BYTES)
    plan = planned(tree, planner)
    device = Device(planner.cost, tiling.workers, group, KV_HEADS)
    rows = sum(tree.rows)
    rivals = {name: traffic(policy(tree, device), rows, device) for name, policy in RIVALS.items()}
    least = least_end(plan.runs, device.cost, device.workers)
    bound = lower_bound(tree.tokens, device.cost)
    whole = planned(tree, TilePlanner(Tiling((device.cost.block,), 1), group, HEAD_DIM, VALUE_BYTES))
    ours, uncut = (traffic(each.pieces, rows, device) for each in (plan, whole))
    return Counted(tree, device.cost.block, bound, ours, uncut, least, rivals)


def missed(counted: Counted) -> list[str]:
    """The bars that a workload misses."""
    ours, rivals = counted.ours, counted.rivals
    ratios = {
        "bytes of K and V, to the bound": (ours.kv / counted.bound, MOST_BYTES, counted.tree.source == "recorded"),
        "end of the last worker, to the earliest possible": (counted.imbalance, MOST_IMBALANCE, True),
        "bytes with nothing shared, to per branch": (
            ours.kv / rivals[PER_BRANCH].kv,
            MOST_APART,
            counted.tree.is_apart,
        ),
        "end with nothing shared, to per branch": (
            ours.end / rivals[PER_BRANCH].end,
            MOST_APART,
            counted.tree.is_apart,
        ),
    }
    for name, rival in rivals.items():
        ratios[f"end, to {name}"] = (ours.end / rival.end, MOST_OF_RIVALS, True)
        ratios[f"cost before cuts, to {name}"] = (counted.whole.cost / rival.cost, MOST_OF_RIVALS, True)
    return [
        f"{counted.tree.name}: {bar} {ratio:.3f}, at most {most}"
        for bar, (ratio, most, applies) in ratios.items()
        if applies and ratio > most
    ]


def table(counts: list[Counted]) -> Table:
    """One row for each workload."""
    title = (
        "a decode step's attention, one layer of Marco-o1 (28 heads, 4 KV heads of 128, 16 bits) on 132 processors\n"
        "bytes of K and V from memory, to each byte once / tiles / modelled end of the step, to ours"
    )
    shown = Table(title=title, padding=(0, 0, 0, 1), show_edge=False)
    columns = ("workload", "rows", "MB", "ours", "even", *RIVALS)
    for name in columns:
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
            f"{one.bound * KV_HEADS / 1e6:.1f}",
            f"{one.ours.kv / one.bound:.3f} / {one.ours.tiles}",
            f"{one.imbalance:.2f}",
            *(f"{r.kv / one.bound:.2f} / {r.tiles} / {r.end / one.ours.end:.2f}" for r in one.rivals.values()),
        )
    return shown


def lower_sums(counts: list[Counted]) -> list[str]:
    """Where a rival has less to do in all, though it ends later: what balance costs."""
    found: list[str] = []
    for one in counts:
        fewer = [
            f"{name} {r.cost / one.ours.cost:.2f} ({r.cost / one.whole.cost:.2f})"
            for name, r in one.rivals.items()
            if r.cost < 0.995 * one.ours.cost
        ]
        if fewer:
            found.append(f"{one.tree.name}: {', '.join(fewer)}")
    return found


def write(counts: list[Counted], path: Path) -> None:
    """Write every number."""
    model = {"heads": HEADS, "kv_heads": KV_HEADS, "head_dim": HEAD_DIM, "value_bytes": VALUE_BYTES}
    device = {"processors": PROCESSORS, "resident": RESIDENT}
    rows = [
        {
            "workload": one.tree.name,
            "source": one.tree.source,
            "rows": sum(one.tree.rows),
            "nodes": len(one.tree.tokens),
            "tile_rows": one.block,
            "bound": one.bound,
            "least_end": one.least_end,
            OURS: one.ours._asdict(),
            f"{OURS}, uncut": one.whole._asdict(),
            **{name: rival._asdict() for name, rival in one.rivals.items()},
        }
        for one in counts
    ]
    lines = ",\n".join("    " + json.dumps(row) for row in rows)
    head = json.dumps({"unit": "bytes per KV head and layer", **model, **device})[1:-1]
    write_whole(path, f'{{\n  {head},\n  "workloads": [\n{lines}\n  ]\n}}\n'.encode())


def attention_bytes(
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if a bar is missed.")] = False,
) -> None:
    """Count the bytes and work items of attention over trees, read in five ways."""
    counts = [count(tree) for tree in workloads()]
    console = Console(width=max(Console().width, _WIDTH))
    console.print(table(counts))
    console.print(
        "\nless traffic, partial results and tiles in all than ours, but a later end unless it is shown above; "
        "in brackets: to ours before runs are cut for balance"
    )
    for line in lower_sums(counts):
        console.print(f"  {line}", highlight=False)
    write(counts, _RESULTS)
    failures = [line for one in counts for line in missed(one)]
    for line in failures:
        console.print(f"missed: {line}", style="red", highlight=False)
    if check and failures:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(attention_bytes)
