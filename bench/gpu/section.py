"""A section of `make gpu-check` while it runs."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

from .report import Finding, Section


class SkippedError(Exception):
    """A section cannot run here; the message says what it lacks."""


class Notebook:
    """What a section writes down while it runs, so that an error takes nothing of it away.

    Attributes:
        findings: Numbers.
        notes: Lines.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.notes: list[str] = []

    def add(self, finding: Finding) -> None:
        """Keep a number."""
        self.findings.append(finding)

    def note(self, line: str) -> None:
        """Keep a line for below the numbers."""
        self.notes.append(line)


class Task(NamedTuple):
    """What every section is given.

    Attributes:
        model: A built-in name, a hub id or a path.
        device: `"cuda"`, or what stands for it in tests.
        notebook: Where its numbers go.
    """

    model: str
    device: str
    notebook: Notebook


def run_section(name: str, required: bool, run: Callable[[Notebook], None]) -> Section:
    """Run a section to its end or to its error.

    Args:
        name: Of the section.
        required: Whether an error in it is an error of marcot.
        run: Does the work.
    """
    notebook, started = Notebook(), time.monotonic()
    error = skipped = None
    try:
        run(notebook)
    except SkippedError as reason:
        skipped = str(reason)
    except Exception:
        error = traceback.format_exc()
    return Section(name, required, notebook.findings, notebook.notes, error, skipped, time.monotonic() - started)
