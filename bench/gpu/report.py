"""What `make gpu-check` has found: a table for people, JSON for machines, an exit code."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Literal, NamedTuple

from marcot.model.whole_file import write_whole
from rich.console import Console
from rich.table import Table

from .card import Card

_WIDTH = 110

ALL_RIGHT, WRONG = 0, 1
"""Exit codes. `gpu_check.NO_GPU` is the third."""


class Check(NamedTuple):
    """A number that may be wrong.

    Attributes:
        name: What was compared with what.
        value: How far it is off.
        limit: How far it may be.
        why: Where the limit comes from.
    """

    name: str
    value: float
    limit: float
    why: str

    @property
    def right(self) -> bool:
        """Whether it is within its limit; NaN is not."""
        return self.value <= self.limit


class KernelTiming(NamedTuple):
    """How fast a kernel was.

    Attributes:
        op: Name of the op.
        shape: What it was given.
        seconds: Median of a call.
        moved: Bytes that it cannot avoid to read and write.
        operations: Floating-point operations.
    """

    op: str
    shape: str
    seconds: float
    moved: float
    operations: float

    @property
    def bandwidth(self) -> float:
        """Bytes per second."""
        return self.moved / self.seconds

    @property
    def speed(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


class DecodeTiming(NamedTuple):
    """How fast tokens were drawn.

    Attributes:
        contestant: Who drew them.
        branches: Branches that continue a shared prefix.
        step_s: Median seconds of a step, which takes every branch one token further.
        host_s: Seconds of it in which the GPU runs nothing, as it waits for Python; None where that cannot be told.
    """

    contestant: str
    branches: int
    step_s: float
    host_s: float | None

    @property
    def tokens_per_s(self) -> float:
        """Tokens drawn per second, over all branches."""
        return self.branches / self.step_s


Finding = Check | KernelTiming | DecodeTiming
Status = Literal["right", "wrong", "failed", "skipped"]


class Section(NamedTuple):
    """A part of the check.

    Attributes:
        name: As `SECTIONS` calls it.
        required: Whether an error in it is an error of marcot.
        findings: What it found, as far as it came.
        notes: What a reader should know.
        error: The traceback that ended it, or None.
        skipped: Why it was not run, or None.
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
        """Wrong numbers first: an error may have come of them."""
        if self.wrong:
            return "wrong"
        if self.error is not None:
            return "failed"
        return "skipped" if self.skipped is not None else "right"


class GpuReport(NamedTuple):
    """All sections of one run.

    Attributes:
        card: What they ran on.
        sections: In the order in which they ran.
    """

    card: Card
    sections: list[Section]

    @property
    def exit_code(self) -> int:
        """`WRONG` if any number is wrong, or a section of marcot's own ended with an error."""
        bad = any(section.wrong or (section.required and section.error is not None) for section in self.sections)
        return WRONG if bad else ALL_RIGHT

    def text(self) -> str:
        """Tables of everything, and every error."""
        output = StringIO()
        console = Console(file=output, width=_WIDTH, highlight=False)
        card = self.card
        console.print(f"{card.name}, {card.arch}, {card.processors} processors, {card.memory / 2**30:.0f} GiB")
        console.print(", ".join(f"{name} {version}" for name, version in card.versions.items()))
        copied, multiplied = card.copy_bandwidth / 1e9, card.gemm_speed / 1e12
        console.print(f"copies {copied:.0f} GB/s, multiplies bf16 {multiplied:.1f} TFLOP/s")
        for section in self.sections:
            console.print(f"\n{section.name}: {section.status}, {section.seconds:.0f} s", markup=False)
            for table in self._tables(section.findings):
                console.print(table)
            for line in (*section.notes, *([section.skipped] if section.skipped else [])):
                console.print(line, markup=False)
            if section.error is not None:
                console.print(section.error, markup=False)
        return output.getvalue()

    def write(self, path: Path) -> None:
        """Write everything to `path`; numbers that are not finite become null."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "card": _finite(self.card._asdict()),
            "exit_code": self.exit_code,
            "sections": [
                {
                    "status": section.status,
                    **section._asdict(),
                    "findings": [{"kind": type(one).__name__, **_finite(one._asdict())} for one in section.findings],
                }
                for section in self.sections
            ],
        }
        write_whole(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())

    def _tables(self, findings: Iterable[Finding]) -> Iterable[Table]:
        """One for each kind that there is."""
        findings = list(findings)
        if checks := [one for one in findings if isinstance(one, Check)]:
            yield _checks(checks)
        if kernels := [one for one in findings if isinstance(one, KernelTiming)]:
            yield self._kernels(kernels)
        if decoding := [one for one in findings if isinstance(one, DecodeTiming)]:
            yield _decoding(decoding)

    def _kernels(self, timings: Iterable[KernelTiming]) -> Table:
        table = _table("op", "shape", "µs", "GB/s", "of copy", "TFLOP/s", "of GEMM")
        for one in timings:
            shares = (one.bandwidth / self.card.copy_bandwidth, one.speed / self.card.gemm_speed)
            numbers = (f"{one.bandwidth / 1e9:.0f}", f"{shares[0]:.0%}", f"{one.speed / 1e12:.2f}", f"{shares[1]:.0%}")
            table.add_row(one.op, one.shape, f"{one.seconds * 1e6:.1f}", *numbers)
        return table


def _checks(checks: Iterable[Check]) -> Table:
    table = _table("check", "off by", "may be", "", "why")
    for one in checks:
        table.add_row(one.name, f"{one.value:.3g}", f"{one.limit:.3g}", "right" if one.right else "WRONG", one.why)
    return table


def _decoding(timings: Iterable[DecodeTiming]) -> Table:
    table = _table("contestant", "branches", "step, ms", "host, ms", "tokens/s")
    for one in timings:
        host = "" if one.host_s is None else f"{one.host_s * 1e3:.2f}"
        table.add_row(one.contestant, str(one.branches), f"{one.step_s * 1e3:.2f}", host, f"{one.tokens_per_s:.0f}")
    return table


def _table(*names: str) -> Table:
    table = Table()
    for name in names:
        table.add_column(name, justify="left" if name in ("op", "shape", "check", "why", "contestant") else "right")
    return table


def _finite(fields: Mapping[str, object]) -> dict[str, object]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in fields.items()
    }
