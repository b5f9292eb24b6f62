"""A section of `make gpu-check` while it runs."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple, Protocol

from .findings import Finding
from .models import Model
from .peer_build import PeerBuild
from .report import Section

OPTIONAL_PACKAGES = ("gguf", "huggingface_hub", "pytest", "safetensors", "transformers", "xdist")
"""Packages that may be missing; a section that needs a missing one is skipped."""


class SkippedError(Exception):
    """Raised if a section cannot run here; the message says what is missing."""


class OutOfTimeError(BaseException):
    """Raised in a section when its time is over; no `Exception`, so that code that goes on after errors ends too."""


class Clock(Protocol):
    """Times ops: `ColdClock`, or a fake clock in tests."""

    def seconds(self, call: Callable[[], object], calls: int = ..., /) -> float:
        """Seconds that one `call` takes on the device, as the mean of `calls` calls."""
        ...


class Notebook:
    """Collects the results of a running section, so that an error loses none of them.

    Attributes:
        findings: The numbers so far.
        notes: The notes so far.
    """

    def __init__(self, tell: Callable[[str], None] = lambda line: None) -> None:
        """Start with nothing; `tell` is called with each line as soon as it is added."""
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self._tell = tell

    def add(self, finding: Finding) -> None:
        """Add a finding."""
        self.findings.append(finding)
        self._tell(finding.line)

    def note(self, line: str) -> None:
        """Add a note, which the report prints below the numbers."""
        self.notes.append(line)
        self._tell(line)


class Task(NamedTuple):
    """The input of every section.

    Attributes:
        models: The models that are run as a whole.
        device: `"cuda"`, or another device in tests.
        clock: Times ops.
        notebook: Collects the section's numbers and notes.
        build: The background compilation of FlashInfer's kernels, or None.
    """

    models: Sequence[Model]
    device: str
    clock: Clock
    notebook: Notebook
    build: PeerBuild | None = None


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `OutOfTimeError` in the `with` block after `seconds`, whatever the block is doing. Main thread only."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_section(
    name: str, required: bool, run: Callable[[Notebook], None], tell: Callable[[str], None], seconds: float
) -> Section:
    """Run a section until it ends or fails, or its time is over; what it has found until then is kept.

    Args:
        name: Name of the section.
        required: Whether an error in the section counts as an error of marcot.
        run: Does the work.
        tell: Called with each line as soon as it is added.
        seconds: Seconds that are left; the section is skipped if there are none.
    """
    notebook, started = Notebook(tell), time.monotonic()
    error = skipped = None
    try:
        if seconds <= 0:
            raise SkippedError(f"no time is left; SECTIONS={name} runs it alone")
        with time_limit(seconds):
            run(notebook)
    except OutOfTimeError:
        skipped = f"stopped after {seconds:.0f} s, when no time was left; SECTIONS={name} runs it alone"
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
