"""Run the kernel tests on the GPU; without one, they only run in Triton's interpreter or compile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple
from xml.etree import ElementTree

from ... import ROOT
from ..findings import Check
from ..section import SkippedError, Task

_TESTS: Final = (
    "tests/kernels/triton/test_triton_*.py",
    "tests/kernels/test_ops.py",
    "tests/kernels/test_sample.py",
    "tests/kernels/test_linear.py",
    "tests/kernels/test_lm_head.py",
    "tests/kernels/test_tree_attention.py",
    "tests/engine/test_triton_engine.py",
)
_TIMEOUT_S = 150
"""Most of the time Triton compiles each kernel for each size in the tests: 84 s with 14 processes on 16 cores."""

_AGAIN_TIMEOUT_S, _LAST_WORDS_S = 30, 10
_MOST_AGAIN = 14
"""Maximum number of failed tests to run again: after a device error, every later test in the process fails too."""

_PROCESSES = max(1, min(14, (os.cpu_count() or 1) - 2))
"""Number of test processes; compiling takes one core in each."""

_TAIL = 4_000

_PYTEST = """\
import pytest, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(pytest.main())
"""
"""Runs pytest so that it handles the SIGINT that `run_tests` sends; shells start background jobs with it ignored."""


class Outcome(NamedTuple):
    """The outcome of a test run.

    Attributes:
        passed: Number of tests that passed.
        failed: Node ids of the tests that failed, such as `tests/a/test_b.py::test_c[d]`.
        skipped: Number of skipped tests.
    """

    passed: int
    failed: list[str]
    skipped: int


class Run(NamedTuple):
    """A run of pytest.

    Attributes:
        printed: Its output.
        in_time: Whether it finished within the time limit.
    """

    printed: str
    in_time: bool


def run(task: Task) -> None:
    """Run all tests in parallel processes, then run each failed test again in a separate process."""
    for package in ("pytest", "xdist"):
        if find_spec(package) is None:
            raise SkippedError(f"needs {package}, which is not installed")
    files = sorted(str(file.relative_to(ROOT)) for pattern in _TESTS for file in ROOT.glob(pattern))
    with TemporaryDirectory() as folder:
        report = Path(folder) / "all.xml"
        ran = run_tests(["-n", str(_PROCESSES), "--dist", "worksteal", *files], report, _TIMEOUT_S)
        outcome = read_outcome(report.read_text()) if report.is_file() else Outcome(0, [], 0)
        alone = _alone(outcome.failed[:_MOST_AGAIN], Path(folder))
    failed = [name for name in outcome.failed if alone.get(name) is None]
    for name in outcome.failed:
        if name in failed:
            task.notebook.note(f"failed: {name}")
        else:
            task.notebook.note(f"failed beside others, passes alone: {name}")
    passed = outcome.passed + len(outcome.failed) - len(failed)
    task.notebook.note(f"{passed} tests passed, {outcome.skipped} were skipped")
    task.notebook.add(Check("tests that failed", len(failed), 0, "every test must pass"))
    if failed:
        task.notebook.note(ran.printed[-_TAIL:])
    if not ran.in_time or not passed + len(failed):
        raise RuntimeError(f"the tests did not come to an end, or there are none:\n{ran.printed[-_TAIL:]}")


def read_outcome(xml: str) -> Outcome:
    """Read the outcome from pytest's JUnit XML."""
    passed, failed, skipped = 0, [], 0
    for case in ElementTree.fromstring(xml).iter("testcase"):
        kinds = {child.tag for child in case}
        if case.get("name") is None:
            continue  # this test was running when the run was interrupted
        if kinds & {"failure", "error"}:
            file = (case.get("classname") or "").replace(".", "/")
            failed.append(f"{file}.py::{case.get('name')}")
        elif "skipped" in kinds:
            skipped += 1
        else:
            passed += 1
    return Outcome(passed, failed, skipped)


def run_tests(arguments: Sequence[str], report: Path, timeout_s: float) -> Run:
    """Run pytest, which writes its JUnit file to `report`; after `timeout_s` seconds it is interrupted and reports."""
    command = [sys.executable, "-c", _PYTEST, "-q", "--tb=short", "-p", "no:cacheprovider", f"--junitxml={report}"]
    environment = {**os.environ, "MARCOT_TEST_DEVICE": "cuda", "KERNEL_SETS": "triton"}
    process = subprocess.Popen(
        [*command, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        return Run(process.communicate(timeout=timeout_s)[0], True)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            printed = process.communicate(timeout=_LAST_WORDS_S)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            printed = process.communicate()[0]
    finally:
        process.kill()
    return Run(
        f"{printed}\nnot finished after {timeout_s:.0f} s; compiled kernels are kept, so another run gets further",
        False,
    )


def _alone(names: Sequence[str], folder: Path) -> dict[str, Run]:
    """Run each test in a separate process; returns the runs of those that pass."""

    def once(number: int, name: str) -> Run | None:
        report = folder / f"{number}.xml"
        ran = run_tests([name], report, _AGAIN_TIMEOUT_S)
        return ran if report.is_file() and read_outcome(report.read_text()) == Outcome(1, [], 0) else None

    with ThreadPoolExecutor(_PROCESSES) as pool:
        runs = list(pool.map(once, range(len(names)), names))
    return {name: ran for name, ran in zip(names, runs, strict=True) if ran is not None}
