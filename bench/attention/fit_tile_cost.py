"""Fits the prices in the planner's cost model to measured times: `python -m bench.attention.fit_tile_cost`.

The times are of many plans of the same trees, measured in one run on one card (`bench/results/attention_times.json`).
It prints the prices and, for each tree, the modelled and measured times of its current plan and of the plan that an
earlier planner made.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from marcot.engine.plan.tile_planner import TilePlanner
from marcot.kernels import Tiling
from marcot.kernels.plan.tile_cost import MEASURED, Prices, TileCost, Work, modelled_us, tile_cost, work_of
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from .. import RESULTS
from ..gpu.trees import measured_trees
from .planned_pieces import readers_of
from .workloads import AttentionTree

TIMES = RESULTS / "attention_times.json"

_SLOWEST = 1.7
"""Only plans that take at most this many times as long as the best plan of their tree are used for the fit."""

_CHOSEN = 3.0
"""Weight of plans that the planner chose: it tends to choose plans that are cheap in the model but not in reality."""

_STEPS, _TRIES, _EASING = 60, 20, 3.0
_DELTA = 0.02
"""Levenberg-Marquardt: steps, tries per step, factor of the damping, and difference in a logarithm for derivatives."""

CHOSEN, BEFORE = "chosen", "before"


class Timed(NamedTuple):
    """The measured time of a plan.

    Attributes:
        model: The model whose attention shape is used.
        tree: Name of the tree.
        plan: Name of the plan.
        head_dim: Size of a head.
        pairs: (Row, head) pairs per tile.
        workers: See `Tiling.workers`.
        work: The amounts of work in the plan.
        us: Time in microseconds.
    """

    model: str
    tree: str
    plan: str
    head_dim: int
    pairs: int
    workers: int
    work: Work
    us: float

    def cost(self, prices: Prices) -> TileCost:
        """Return the prices of its tiles: those of one row with as many heads as a tile has pairs."""
        return tile_cost(self.workers, 1, self.pairs, self.head_dim, prices)


def read(path: Path = TIMES) -> list[Timed]:
    """Read all times of a file."""
    report = json.loads(path.read_text())
    rows = [dict(zip(report["columns"], row, strict=True)) for row in report["plans"]]
    names = [name for name in Timed._fields if name != "work"]
    return [
        Timed(**{name: row[name] for name in names}, work=Work(*(row[name] for name in Work._fields))) for row in rows
    ]


def counting(times: Sequence[Timed]) -> list[Timed]:
    """Return the times that are close to the best of their tree."""
    best: defaultdict[tuple[str, str], float] = defaultdict(lambda: np.inf)
    for each in times:
        best[each.model, each.tree] = min(best[each.model, each.tree], each.us)
    return [each for each in times if each.us <= _SLOWEST * best[each.model, each.tree]]


def errors(times: Sequence[Timed], prices: Prices) -> NDArray[np.float64]:
    """Return `[times]`, the logarithm of modelled time divided by measured time."""
    return np.array([np.log(modelled_us(each.cost(prices), each.work) / each.us) for each in times])


def fitted(times: Sequence[Timed], start: Prices = MEASURED) -> Prices:
    """Return the prices with the least squared logarithmic errors, by the Levenberg-Marquardt method."""
    weights = np.sqrt([_CHOSEN if each.plan == CHOSEN else 1.0 for each in times])

    def residuals(logs: NDArray[np.float64]) -> NDArray[np.float64]:
        return weights * errors(times, Prices(*np.exp(logs).tolist()))

    logs, damping = np.log(start), 0.01
    found = residuals(logs)
    for _ in range(_STEPS):
        changes = np.eye(len(logs)) * _DELTA
        slopes = np.array([(residuals(logs + each) - residuals(logs - each)) / (2 * _DELTA) for each in changes]).T
        for _ in range(_TRIES):
            step = np.linalg.solve(slopes.T @ slopes + damping * np.eye(len(logs)), -slopes.T @ found)
            tried = residuals(logs + step)
            if tried @ tried < found @ found:
                logs, found, damping = logs + step, tried, damping / _EASING
                break
            damping *= _EASING
        else:
            break
    return Prices(*np.exp(logs).tolist())


_SHAPES: Final = {"0.5B": (14, 2, 64), "7B": (28, 4, 128)}
"""Query heads, KV heads and head_dim of Qwen2.5-0.5B and Qwen2-7B."""

_BLOCKS, _RESIDENT_BLOCKS = (16, 32, 64, 128), 264
"""(Row, head) pairs per tile, and resident thread blocks of an H100 or H200."""


def table(times: Sequence[Timed], flashinfer: dict[tuple[str, str], float], prices: Prices) -> Table:
    """Return a row per tree that FlashInfer was timed on; "now: measured" is empty if the plan has changed since."""
    shown = Table(title="microseconds of attention, one layer, H200", show_edge=False)
    for name in (
        "tree",
        "before: modelled",
        "measured",
        "now: modelled",
        "measured",
        "to before",
        "FlashInfer",
        "to it",
    ):
        shown.add_column(name, justify="left" if name == "tree" else "right")
    of_plan = {(each.model, each.tree, each.plan): each for each in times}
    ratios: list[tuple[float, float]] = []
    for (model, tree), peer in flashinfer.items():
        before, chosen = (of_plan.get((model, tree, plan)) for plan in (BEFORE, CHOSEN))
        assert before is not None
        cost, work = _now(model, tree, prices)
        then, now = modelled_us(before.cost(prices), before.work), modelled_us(cost, work)
        ratios.append((now / then, now / peer))
        measured = f"{chosen.us:.1f}" if chosen is not None and chosen.work == work else ""
        cells = (f"{then:.1f}", f"{before.us:.1f}", f"{now:.1f}", measured, f"{now / then:.2f}", f"{peer:.1f}")
        shown.add_row(f"{model} {tree}", *cells, f"{now / peer:.2f}")
    to_before, to_peer = np.exp(np.log(ratios).mean(axis=0))
    shown.add_section()
    shown.add_row("geometric mean", "", "", "", "", f"{to_before:.2f}", "", f"{to_peer:.2f}")
    return shown


def _now(model: str, name: str, prices: Prices) -> tuple[TileCost, Work]:
    """Return the prices and the amounts of work of the current plan of a tree."""
    heads, kv_heads, head_dim = _SHAPES[model]
    group, workers = heads // kv_heads, _RESIDENT_BLOCKS // kv_heads
    paged = next(tree for tree in measured_trees() if tree.name == name)
    leaves = {chain[-1] for chain in paged.chains}
    rows = [int(node in leaves) for node in range(len(paged.tokens))]
    tree = AttentionTree(name, "", paged.parents, paged.tokens, rows)
    planner = TilePlanner(Tiling(tuple(block // group for block in _BLOCKS), workers), group, head_dim)
    _, plan = planner.plan(readers_of(tree))
    assert plan.tiles is not None
    return tile_cost(workers, plan.tiles.rows, group, head_dim, prices), work_of(plan.tiles, sum(tree.tokens))


def main() -> None:
    """Fit the prices and print them."""
    times = read()
    near = counting(times)
    prices = fitted(near)
    console = Console(width=150)
    for name, new, old in zip(Prices._fields, prices, MEASURED, strict=True):
        console.print(f"{name:14} {new:8.4f}   in use: {old:.4f}", highlight=False)
    for what, some in (("all", near), (CHOSEN, [each for each in near if each.plan == CHOSEN])):
        of_some = errors(some, prices)
        console.print(f"{what}: {len(some)} plans, off by {np.sqrt((of_some**2).mean()):.1%}", highlight=False)
    report = json.loads(TIMES.read_text())
    peers = {(model, tree): min(ways) for model, tree, *ways in report["flashinfer"]}
    console.print(table(times, peers, MEASURED))


if __name__ == "__main__":
    main()
