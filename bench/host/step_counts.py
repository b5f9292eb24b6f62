"""Counts kernels and bytes per decoded token: `make bench-counts`, or `python -m bench.host.step_counts --help`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer
from marcot.model.files.atomic_file import write_atomically
from rich.console import Console
from rich.table import Table

from .. import RESULTS, ROOT
from ..common.remote import Remote
from ..common.shaped_checkpoint import CONFIGS
from .checkout import linked

_RESULTS = RESULTS / "step_counts.json"
_PROGRAM = "bench.host.counting"

MODELS: Final = ("0.5b", "7b")
BRANCHES: Final = (1, 32, 256)


class StepCount(NamedTuple):
    """The cost of one more token on every branch.

    Attributes:
        model: A key of `CONFIGS`.
        branches: Number of branches; all continue one prefix.
        side: Which checkout.
        kernels: Launches by kernel; a matrix product of a library counts as one, even if it launches several.
        device_bytes: Bytes that the kernels read and write.
        calls: Graph launches and copies by the host.
        copied_bytes: Bytes of these copies.
    """

    model: str
    branches: int
    side: str
    kernels: Mapping[str, int]
    device_bytes: int
    calls: float
    copied_bytes: float


def table(counts: Sequence[StepCount]) -> Table:
    """Return a table with one row for each model, number of branches and checkout."""
    shown = Table(title="one token on every branch, in bf16 on an H100", caption="calls: graphs and copies of the host")
    for name in ("model", "branches", "checkout", "kernels", "MB moved", "per branch", "calls", "copied", "per branch"):
        shown.add_column(name, justify="right")
    for one in counts:
        moved, copied = one.device_bytes / 1e6, one.copied_bytes
        shown.add_row(
            one.model, str(one.branches), one.side, str(sum(one.kernels.values())),
            f"{moved:,.0f}", f"{moved / one.branches:,.2f}", f"{one.calls:.2f}",
            f"{copied:,.0f} B", f"{copied / one.branches:,.0f} B",
        )  # fmt: skip
    return shown


def step_counts(
    beside: Annotated[Path | None, typer.Option(help="Another checkout to count as well.")] = None,
    update: Annotated[bool, typer.Option("--update", help="Write bench/results/step_counts.json.")] = False,
) -> None:
    """Count kernels and bytes per decoded token. No GPU is needed."""
    checkouts = {"this": ROOT} if beside is None else {"beside": beside.resolve(), "this": ROOT}
    counts: list[StepCount] = []
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        for side, path in checkouts.items():
            environment = {"PYTHONPATH": str(linked(path, folder / side))}
            with Remote(sys.executable, environment, _PROGRAM) as remote:
                for model in MODELS:
                    for branches in BRANCHES:
                        found = remote.call("count", config=asdict(CONFIGS[model]), branches=branches)
                        counts.append(StepCount(model, branches, side, **found))
    counts.sort(key=lambda one: (one.model, one.branches))
    Console(width=max(Console().width, 120)).print(table(counts))
    if update:
        write_atomically(_RESULTS, (json.dumps([one._asdict() for one in counts], indent=1) + "\n").encode())


if __name__ == "__main__":
    typer.run(step_counts)
