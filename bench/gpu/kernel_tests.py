"""The kernel tests on the GPU: what an interpreter and a compiler have shown before, by the hardware itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from xml.etree import ElementTree

from .. import ROOT
from .report import Check
from .section import Task

_TESTS = (
    "tests/kernels/triton/test_triton_*.py",
    "tests/kernels/test_ops.py",
    "tests/kernels/test_linear.py",
    "tests/kernels/test_lm_head.py",
    "tests/kernels/test_tree_attention.py",
    "tests/engine/test_triton_engine.py",
)
_TIMEOUT_S = 1200
"""Most of it is Triton, which compiles each kernel for each of the tests' sizes: the second run is much shorter."""

_PROCESSES = min(8, os.cpu_count() or 1)
"""Files that are tested side by side: compiling takes one core each."""

_TAIL = 4_000


class Outcome(NamedTuple):
    """What a run of tests came to.

    Attributes:
        passed: Tests that passed.
        failed: Names of those that did not.
        skipped: Tests that were not run.
    """

    passed: int
    failed: list[str]
    skipped: int


def run(task: Task) -> None:
    """Run every file of tests in a process of its own, which an error of the GPU may end."""
    files = sorted(file for pattern in _TESTS for file in ROOT.glob(pattern))
    deadline = time.monotonic() + _TIMEOUT_S
    with TemporaryDirectory() as folder, ThreadPoolExecutor(_PROCESSES) as pool:
        reports = [Path(folder) / f"{number}.xml" for number in range(len(files))]
        ended = list(pool.map(lambda file, report: _run_tests(file, report, deadline), files, reports))
        outcomes = [read_outcome(report.read_text()) if report.is_file() else None for report in reports]
    passed, failed, skipped, errors = 0, 0, 0, []
    for file, output, outcome in zip(files, ended, outcomes, strict=True):
        if outcome is None or not (outcome.passed or outcome.failed):
            errors.append(f"{file.name} did not come to an end, or has no tests:\n{output[-_TAIL:]}")
            continue
        passed, failed = passed + outcome.passed, failed + len(outcome.failed)
        skipped += outcome.skipped
        for name in outcome.failed:
            task.notebook.note(f"failed: {name}")
        if outcome.failed:
            task.notebook.note(output[-_TAIL:])
    task.notebook.note(f"{passed} tests passed, {skipped} were skipped")
    task.notebook.add(Check("tests that failed", failed, 0, "every test is to pass"))
    if errors:
        raise RuntimeError("\n\n".join(errors))


def read_outcome(xml: str) -> Outcome:
    """What pytest's JUnit file says."""
    passed, failed, skipped = 0, [], 0
    for case in ElementTree.fromstring(xml).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" in kinds:
            skipped += 1
        else:
            passed += 1
    return Outcome(passed, failed, skipped)


def _run_tests(test: Path, report: Path, deadline: float) -> str:
    """Run a file of tests, whose JUnit file goes to `report`; returns what pytest printed."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", f"--junitxml={report}", str(test)]
    environment = {**os.environ, "MARCOT_TEST_DEVICE": "cuda", "KERNEL_SETS": "triton"}
    try:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=max(deadline - time.monotonic(), 1.0),
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        output = late.stdout or b""
        said = output.decode() if isinstance(output, bytes) else output
        return f"{said}\nno end after {_TIMEOUT_S} s; what is compiled is kept, so that another run comes further"
    return ended.stdout
