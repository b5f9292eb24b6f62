"""The report of `test_tree_decode.py`: a table and a JSON file."""

from __future__ import annotations

import json
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from marcot.model.files.atomic_file import write_atomically
from rich.console import Console
from rich.table import Table

from ..common.machine import Machine
from ..common.workload import PREFIX_TOKENS, Workload

_WIDTH = 110


class Timing(NamedTuple):
    """The measured speed of a contestant.

    Attributes:
        model: Name of the model.
        workload: What was decoded.
        contestant: The engine that decoded it.
        median_s: Median seconds of a round.
        rounds: How many rounds were timed.
    """

    model: str
    workload: Workload
    contestant: str
    median_s: float
    rounds: int

    @property
    def tokens_per_s(self) -> float:
        """Tokens drawn per second, over all branches."""
        return self.workload.tokens / self.median_s


class Limit(NamedTuple):
    """The shortest possible time of a round on a machine.

    Attributes:
        bound: "bytes" or "FLOP", whichever takes longer.
        seconds: Seconds that it takes.
    """

    bound: str
    seconds: float


def limit(workload: Workload, machine: Machine) -> Limit:
    """Return the lower bound that memory bandwidth and arithmetic set on the time of `workload`, for any engine."""
    reading = Limit("bytes", workload.read_bytes() / machine.read_bandwidth)
    computing = Limit("FLOP", workload.operations() / machine.gemm_flops)
    return max(reading, computing, key=lambda one: one.seconds)


class Report:
    """Collects timings on one machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.timings: list[Timing] = []

    def table(self) -> str:
        """One row per model and number of branches; ratios above 1 mean that the tree is faster."""
        title = (
            f"decode over a shared prefix of {PREFIX_TOKENS} tokens, fp32, tokens/s "
            f"(reads {self.machine.read_bandwidth / 1e9:.1f} GB/s, GEMM {self.machine.gemm_flops / 1e9:.0f} GFLOP/s, "
            f"load before {self.machine.load})"
        )
        table = Table(title=title)
        for name in (
            "model",
            "branches",
            "tree",
            "copies",
            "transformers",
            "vs copies",
            "vs transformers",
            "of the limit",
        ):
            table.add_column(name, justify="left" if name == "model" else "right")
        for (model, workload), group in groupby(self.timings, lambda timing: (timing.model, timing.workload)):
            speed = {timing.contestant: timing.tokens_per_s for timing in group}
            bound, seconds = limit(workload, self.machine)
            table.add_row(
                model,
                str(workload.branches),
                *(f"{speed[name]:.1f}" for name in ("tree", "copies", "transformers")),
                *(f"{speed['tree'] / speed[name]:.2f}x" for name in ("copies", "transformers")),
                f"{speed['tree'] * seconds / workload.tokens:.0%} ({bound})",
            )
        output = StringIO()
        Console(file=output, width=_WIDTH).print(table)
        return output.getvalue()

    def write(self, path: Path) -> None:
        """Write the machine and every timing to `path`."""
        rows = []
        for timing in self.timings:
            bound, seconds = limit(timing.workload, self.machine)
            rows.append(
                {
                    "model": timing.model,
                    "branches": timing.workload.branches,
                    "contestant": timing.contestant,
                    "median_s": timing.median_s,
                    "rounds": timing.rounds,
                    "tokens_per_s": timing.tokens_per_s,
                    "bound": bound,
                    "share_of_limit": seconds / timing.median_s,
                }
            )
        path.parent.mkdir(exist_ok=True)
        write_atomically(
            path, (json.dumps({"machine": self.machine._asdict(), "timings": rows}, indent=2) + "\n").encode()
        )
