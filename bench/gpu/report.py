"""The report of `make gpu-check`: tables for people, JSON for programs, and the exit code."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Literal, NamedTuple

from marcot.model.files.atomic_file import write_atomically
from rich.console import Console
from rich.table import Table

from .bars import Bar, bars
from .card import Card
from .findings import Check, Comparison, DecodeTiming, Finding, KernelTiming, ProfileRow, Rate

_WIDTH = 120

ALL_RIGHT, WRONG = 0, 1
"""Exit codes. `check.NO_GPU` is the third."""

Status = Literal["right", "wrong", "failed", "skipped"]


class Section(NamedTuple):
    """The outcome of one section.

    Attributes:
        name: Its key in `check.PARTS`.
        required: Whether an error in the section counts as an error of marcot.
        findings: The numbers that it measured, up to its end or its error.
        notes: Notes for the reader.
        error: The traceback that ended it, or None.
        skipped: Why it was skipped, or stopped before its end; or None.
        seconds: How long it took.
    """

    name: str
    required: bool
    findings: list[Finding]
    notes: list[str]
    error: str | None
    skipped: str | None
    seconds: float

    @property
    def wrong(self) -> list[Check]:
        """The checks that failed."""
        return [finding for finding in self.findings if isinstance(finding, Check) and not finding.right]

    @property
    def status(self) -> Status:
        """The status; wrong numbers take precedence over an error, since they may have caused it."""
        if self.wrong:
            return "wrong"
        if self.error is not None:
            return "failed"
        return "skipped" if self.skipped is not None else "right"


class GpuReport(NamedTuple):
    """All sections of one run.

    Attributes:
        card: The GPU that they ran on.
        sections: The sections, in the order in which they ran.
    """

    card: Card
    sections: list[Section]

    @property
    def bars(self) -> list[Bar]:
        """The bars that the findings of the sections decide."""
        return bars([finding for section in self.sections for finding in section.findings], self.card)

    @property
    def exit_code(self) -> int:
        """`WRONG` if any number is wrong, or a required section ended with an error."""
        bad = any(section.wrong or (section.required and section.error is not None) for section in self.sections)
        return WRONG if bad else ALL_RIGHT

    def text(self) -> str:
        """The report as text: tables, notes and errors of every section, then the bars."""
        output = StringIO()
        console = Console(file=output, width=_WIDTH, highlight=False)
        card = self.card
        console.print(f"{card.name}, {card.arch}, {card.processors} processors, {card.memory / 2**30:.0f} GiB")
        console.print(", ".join(f"{name} {version}" for name, version in card.versions.items()))
        copied, multiplied = card.copy_bandwidth / 1e9, card.gemm_speed / 1e12
        console.print(f"copies {copied:.0f} GB/s, multiplies bf16 {multiplied:.1f} TFLOP/s")
        for section in self.sections:
            console.print(f"\n{section.name}: {section.status}, {section.seconds:.0f} s", markup=False)
            for table in _tables(section.findings, card):
                console.print(table)
            for line in (*section.notes, *([section.skipped] if section.skipped else [])):
                console.print(line, markup=False)
            if section.error is not None:
                console.print(section.error, markup=False)
        if reached := self.bars:
            console.print("\nbars")
            console.print(_bars(reached))
        return output.getvalue()

    def write(self, path: Path) -> None:
        """Write the report to `path` as JSON; numbers that are not finite become null."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "card": _finite(self.card._asdict()),
            "exit_code": self.exit_code,
            "bars": [{**_finite(bar._asdict()), "met": bar.met} for bar in self.bars],
            "sections": [
                {
                    "status": section.status,
                    **section._asdict(),
                    "findings": [{"kind": type(one).__name__, **_finite(one._asdict())} for one in section.findings],
                }
                for section in self.sections
            ],
        }
        write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _tables(findings: Sequence[Finding], card: Card) -> Iterator[Table]:
    """One table for each kind of finding that is present."""
    if checks := [one for one in findings if isinstance(one, Check)]:
        yield _checks(checks)
    if kernels := [one for one in findings if isinstance(one, KernelTiming)]:
        yield _kernels(kernels, card)
    if comparisons := [one for one in findings if isinstance(one, Comparison)]:
        yield _comparisons(comparisons)
    if decoding := [one for one in findings if isinstance(one, DecodeTiming)]:
        yield _decoding(decoding)
    if rates := [one for one in findings if isinstance(one, Rate)]:
        yield _rates(rates)
    if profile := [one for one in findings if isinstance(one, ProfileRow)]:
        yield _profile(profile)


def _checks(checks: Iterable[Check]) -> Table:
    table = _table("check", "off by", "may be", "", "why")
    for one in checks:
        table.add_row(one.name, f"{one.value:.3g}", f"{one.limit:.3g}", "right" if one.right else "WRONG", one.why)
    return table


def _kernels(timings: Iterable[KernelTiming], card: Card) -> Table:
    table = _table("op", "shape", "µs", "GB/s", "of copy", "TFLOP/s", "of GEMM")
    for one in timings:
        shares = (one.bandwidth / card.copy_bandwidth, one.speed / card.gemm_speed)
        numbers = (f"{one.bandwidth / 1e9:.0f}", f"{shares[0]:.0%}", f"{one.speed / 1e12:.2f}", f"{shares[1]:.0%}")
        table.add_row(one.op, one.shape, _us(one.seconds), *numbers)
    return table


def _comparisons(comparisons: Iterable[Comparison]) -> Table:
    table = _table("op", "shape", "µs", "beside", "µs", "ratio")
    for one in comparisons:
        table.add_row(one.op, one.shape, _us(one.seconds), one.peer, _us(one.peer_seconds), f"{one.ratio:.2f}")
    return table


def _decoding(timings: Iterable[DecodeTiming]) -> Table:
    table = _table(
        "contestant", "model", "branches", "step, ms", "recorded, ms", "ratio", "host, µs", "launches", "tokens/s"
    )
    for one in timings:
        recorded = ("", "", "", "")
        if one.graph_s is not None and one.outside_s is not None:
            ratio, host = f"{one.step_s / one.graph_s:.2f}", f"{one.outside_s * 1e6:.0f}"
            recorded = (f"{one.graph_s * 1e3:.2f}", ratio, host, str(one.launches))
        step, speed = f"{one.step_s * 1e3:.2f}", f"{one.tokens_per_s:.0f}"
        table.add_row(one.contestant, one.model, str(one.branches), step, *recorded, speed)
    return table


def _rates(rates: Iterable[Rate]) -> Table:
    table = _table("what", "model", "rows", "tokens/s")
    for one in rates:
        table.add_row(one.what, one.model, str(one.rows), f"{one.tokens_per_s:.0f}")
    return table


def _profile(rows: Iterable[ProfileRow]) -> Table:
    table = _table("step", "kernel", "launches", "µs")
    for one in rows:
        table.add_row(one.step, one.kernel[:60], str(one.launches), _us(one.seconds))
    return table


def _bars(reached: Iterable[Bar]) -> Table:
    table = _table("bar", "found", "must be", "", "where")
    for one in reached:
        limit = f"{'≥' if one.at_least else '≤'} {_number(one.limit)}"
        table.add_row(one.name, _number(one.value), limit, "met" if one.met else "MISSED", one.where)
    return table


_LEFT = frozenset(
    {"op", "shape", "check", "why", "contestant", "model", "what", "step", "kernel", "bar", "where", "beside"}
)


def _table(*names: str) -> Table:
    table = Table()
    for name in names:
        table.add_column(name, justify="left" if name in _LEFT else "right")
    return table


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.1f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _finite(fields: Mapping[str, object]) -> dict[str, object]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in fields.items()
    }
