"""A section of `make gpu-check` while it runs."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from .findings import Finding
from .models import Model
from .peer_build import PeerBuild
from .report import Section

OPTIONAL_PACKAGES = ("gguf", "huggingface_hub", "pytest", "safetensors", "transformers", "xdist")
"""What a bare machine may lack; a section that needs one is skipped there."""


class SkippedError(Exception):
    """A section cannot run here; the message says what it lacks."""


class Clock(Protocol):
    """What times ops: `ColdClock`, or what stands for it in tests."""

    def seconds(self, call: Callable[[], object], calls: int = ..., /) -> float:
        """Seconds of one `call` on the device, the mean of `calls` of them."""
        ...


class Notebook:
    """What a section writes down while it runs, so that an error takes nothing of it away.

    Attributes:
        findings: Numbers.
        notes: Lines.
    """

    def __init__(self, tell: Callable[[str], None] = lambda line: None) -> None:
        """Give each line to `tell` at once, for who watches."""
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self._tell = tell

    def add(self, finding: Finding) -> None:
        """Keep a number."""
        self.findings.append(finding)
        self._tell(finding.line)

    def note(self, line: str) -> None:
        """Keep a line for below the numbers."""
        self.notes.append(line)
        self._tell(line)


class Task(NamedTuple):
    """What every section is given.

    Attributes:
        models: What is run as a whole.
        device: `"cuda"`, or what stands for it in tests.
        clock: Times ops.
        notebook: Where its numbers go.
        build: Compiles FlashInfer's kernels, or None where nobody does.
    """

    models: Sequence[Model]
    device: str
    clock: Clock
    notebook: Notebook
    build: PeerBuild | None = None


def run_section(name: str, required: bool, run: Callable[[Notebook], None], tell: Callable[[str], None]) -> Section:
    """Run a section to its end or to its error.

    Args:
        name: Of the section.
        required: Whether an error in it is an error of marcot.
        run: Does the work.
        tell: Is given each line at once.
    """
    notebook, started = Notebook(tell), time.monotonic()
    error = skipped = None
    try:
        run(notebook)
    except SkippedError as reason:
        skipped = str(reason)
    except ModuleNotFoundError as missing:
        if missing.name in OPTIONAL_PACKAGES:
            skipped = f"needs {missing.name}, which is not installed"
        else:
            error = traceback.format_exc()
    except Exception:
        error = traceback.format_exc()
    if reason_or_error := skipped or error:
        tell(reason_or_error)
    return Section(name, required, notebook.findings, notebook.notes, error, skipped, time.monotonic() - started)
