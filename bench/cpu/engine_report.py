"""The report of `make bench-cpu`: a table per model, and a JSON file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from marcot.model.files.atomic_file import write_atomically
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

from ..common.machine import Machine
from ..common.prompt import PREFIX_TOKENS
from ..common.recorded_trees import recorded_trees
from .bars import BARS, GOALS, Bar, Verdict, judge
from .lineup import BATCHED_BENCH, EXACT, FAST, LINEUP, LLAMA_CPP, OPENVINO
from .results import Metric, Results

_WIDTH = 180
_RATIOS = ((FAST, LLAMA_CPP), (FAST, BATCHED_BENCH), (EXACT, LLAMA_CPP), (EXACT, OPENVINO))
"""Pairs of engines whose speed ratios are shown; above 1, the first is faster."""

_NOT_MEASURED = "-"

_LEGEND = (
    "Tokens/s of forward passes: every pass takes one token from each branch. '% of limits' is what a decode step "
    "reaches of the machine's read bandwidth (weights as stored, each cached token once) and of its fp32 GEMM speed.",
    "Included in every pass: log-sum-exp, five best log-probabilities and the draw; of OpenVINO and CTranslate2 only "
    f"the drawn token's log-probability; of {BATCHED_BENCH} neither probabilities nor a draw.",
    "Peak memory is resident memory, pages of a mapped file included, over the whole run of the process.",
)


class CpuReport:
    """The report of one run on one machine."""

    def __init__(self, machine: Machine, results: Results) -> None:
        self.machine = machine
        self.results = results
        self.verdicts = judge(BARS, results)
        self.goals = judge(GOALS, results)

    @property
    def missed(self) -> list[str]:
        """One line for each bar that was measured and missed."""
        return [describe(verdict) for verdict in self.verdicts if verdict.missed]

    def text(self) -> str:
        """All tables, notes and verdicts."""
        models = list(dict.fromkeys(measure.model for measure in self.results.measures))
        machine = self.machine
        parts: list[RenderableType] = [
            f"{machine.cpu}, {machine.threads} threads, reads {machine.read_bandwidth / 1e9:.1f} GB/s, fp32 GEMM "
            f"{machine.gemm_flops / 1e9:.0f} GFLOP/s, load before {machine.load}"
        ]
        parts += [self._speed_table(model) for model in models]
        parts += [table for model in models if (table := self._tree_table(model))]
        parts += [*_LEGEND, *(f"note: {note}" for note in self.results.notes)]
        parts += [
            f"disturbed: other programs used {cores:.1f} processors during {test}"
            for test, cores in self.results.disturbed.items()
        ]
        parts += [_verdict_table(title, found) for title, found in (("bars", self.verdicts), ("goals", self.goals))]
        output = StringIO()
        console = Console(file=output, width=_WIDTH)
        for part in parts:
            console.print(part, highlight=False, markup=False)
        return output.getvalue()

    def write(self, path: Path) -> None:
        """Write everything to `path`."""
        content = {
            "machine": self.machine._asdict(),
            "versions": self.results.versions,
            "measures": [measure._asdict() for measure in self.results.measures],
            "notes": self.results.notes,
            "disturbed": self.results.disturbed,
            "bars": [_plain(verdict) for verdict in self.verdicts],
            "goals": [_plain(verdict) for verdict in self.goals],
        }
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())

    def _speed_table(self, model: str) -> Table:
        """Rows: branches, prompt lengths, memory. Columns: engines, ratios, shares of the machine's limits."""
        value = self.results.value
        names = [contestant.name for contestant in LINEUP if contestant.measures(model)]
        if any(measure[:2] == (model, BATCHED_BENCH) for measure in self.results.measures):
            names.insert(names.index(LLAMA_CPP) + 1, BATCHED_BENCH)
        ratios = [(one, other) for one, other in _RATIOS if other in names]
        table = Table(
            title=f"{model}: tokens/s over a shared prefix of {PREFIX_TOKENS} tokens",
            title_justify="left",
            box=SIMPLE_HEAD,
        )
        table.add_column("", no_wrap=True)
        for name in names:
            table.add_column(re.sub("[ -]", r"\g<0>\n", name), justify="right")
        for one, other in ratios:
            table.add_column(f"{_short(one)} /\n" + _short(other).replace("-", "-\n"), justify="right")
        for mode in (FAST, EXACT):
            table.add_column(f"{_short(mode)}, %\nof limits", justify="right")

        def row(title: str, metric: Metric, size: int, form: str = "{:.1f}", unit: float = 1.0) -> None:
            numbers = [value(model, name, metric, size) for name in names]
            if any(number is not None for number in numbers):
                table.add_row(
                    title, *(_number(number and number / unit, form) for number in numbers), *more(metric, size)
                )

        def more(metric: Metric, size: int) -> list[str]:
            if metric not in ("decode", "prefill"):
                return []
            quotients = [
                _ratio(value(model, one, metric, size), value(model, other, metric, size)) for one, other in ratios
            ]
            shares = [self._shares(model, mode, size) for mode in (FAST, EXACT)] if metric == "decode" else []
            return quotients + shares

        for branches in self.results.sizes(model, "decode"):
            row(f"{branches} branch{'es' if branches > 1 else ''}", "decode", branches)
        table.add_section()
        for tokens in self.results.sizes(model, "prefill"):
            row(f"prefill {tokens}", "prefill", tokens)
        table.add_section()
        row("peak memory, MB", "peak memory", 0, "{:.0f}", 1e6)
        row("weights / file", "weights to file", 0, "{:.2f}")
        row("load, 1st token, s", "load to first token", 0, "{:.2f}")
        row("start, 1st token, s", "start to first token", 0, "{:.2f}")
        for branches in self.results.sizes(model, "overhead"):
            row(f"Python at {branches}", "overhead", branches, "{:.1%}")
        return table

    def _shares(self, model: str, mode: str, branches: int) -> str:
        """Return the fractions of the machine's two limits that a decode step reaches, as text."""
        metrics: tuple[Metric, Metric] = ("bandwidth share", "GEMM share")
        return " ".join(_number(self.results.value(model, mode, metric, branches), "{:.0%}") for metric in metrics)

    def _tree_table(self, model: str) -> Table | None:
        """Return a table with one row per recorded tree; None if no tree was measured."""
        numbers = self.results.sizes(model, "tree")
        if not numbers:
            return None
        table = Table(
            title=f"{model}: {FAST} on all leaves of recorded search trees, tokens/s",
            title_justify="left",
            box=SIMPLE_HEAD,
        )
        for name in ("width", "depth", "leaves", "tokens", "sharing", "shared", "apart", "gain"):
            table.add_column(name, justify="right")
        trees = recorded_trees()
        for number in numbers:
            tree = trees[number]
            shared, apart, gain = (
                self.results.value(model, FAST, metric, number) for metric in ("tree", "tree apart", "tree gain")
            )
            table.add_row(
                *(str(count) for count in (tree.width, tree.depth, len(tree.leaves), sum(tree.tokens))),
                f"{tree.sharing:.2f}x",
                *(_number(speed, "{:.1f}") for speed in (shared, apart)),
                _number(gain, "{:.2f}x"),
            )
        return table


def describe(verdict: Verdict) -> str:
    """Return the bar and the measured value, on one line."""
    bar = verdict.bar
    asked = f">= {bar.least}" if bar.least is not None else f"<= {bar.most}"
    at = f" at {verdict.size}" if verdict.size or len(bar.sizes) > 1 else ""
    return f"{bar.model}, {bar.name}{at}: {_number(verdict.value, '{:.3g}')}, asked {asked}"


def _verdict_table(title: str, verdicts: Sequence[Verdict]) -> Table:
    unknown = sum(verdict.value is None for verdict in verdicts)
    table = Table(
        title=f"{title} ({unknown} not measured in this run)" if unknown else title,
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for name in ("model", "what", "at", "asked", "found", ""):
        table.add_column(name, justify="right" if name in ("at", "asked", "found") else "left")
    for verdict in verdicts:
        if verdict.value is None:
            continue
        bar = verdict.bar
        asked = f">= {bar.least}" if bar.least is not None else f"<= {bar.most}"
        state = "MISSED" if verdict.missed else "met"
        at = str(verdict.size) if bar.sizes != (0,) else ""
        table.add_row(bar.model, bar.name, at, asked, _number(verdict.value, "{:.3g}"), state)
    return table


def _plain(verdict: Verdict) -> dict[str, object]:
    bar: Bar = verdict.bar
    return bar._asdict() | {"sizes": None, "size": verdict.size, "value": verdict.value, "missed": verdict.missed}


def _short(name: str) -> str:
    """Return `name` without the parts that would only repeat in the headings of ratio columns."""
    return name.removeprefix("marcot ").removesuffix(" int8")


def _number(value: float | None, form: str) -> str:
    return _NOT_MEASURED if value is None else form.format(value)


def _ratio(one: float | None, other: float | None) -> str:
    return _NOT_MEASURED if one is None or other is None else f"{one / other:.2f}x"
