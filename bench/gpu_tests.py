"""The kernel tests on the GPU: what an interpreter and a compiler have shown before, by the hardware itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from xml.etree import ElementTree

from gpu_report import Check
from gpu_section import Task

_ROOT = Path(__file__).parent.parent
_TESTS = (
    "tests/kernels/triton",
    "--ignore=tests/kernels/triton/test_kernel_report.py",  # which is about other GPUs
    "tests/kernels/test_ops.py",
    "tests/kernels/test_linear.py",
    "tests/kernels/test_lm_head.py",
    "tests/kernels/test_tree_attention.py",
    "tests/engine/test_triton_engine.py",
)
_TIMEOUT_S = 420
"""Most of it is Triton, which compiles each kernel for each of the tests' sizes: the second run is much shorter."""

_TAIL = 4_000


class Outcome(NamedTuple):
    """What a run of tests came to.

    Attributes:
        passed: Tests that passed.
        failed: Names of those that did not.
    """

    passed: int
    failed: list[str]


def run(task: Task) -> None:
    """Run the tests in a process of their own, which an error of the GPU may end."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tests.xml"
        output = _run_tests(file, _TESTS)
        outcome = read_outcome(file.read_text()) if file.is_file() else None
    if outcome is None:
        raise RuntimeError(f"the tests did not come to an end:\n{output[-_TAIL:]}")
    task.notebook.note(f"{outcome.passed} tests passed")
    task.notebook.add(Check("tests that failed", len(outcome.failed), 0, "every test is to pass"))
    for name in outcome.failed:
        task.notebook.note(f"failed: {name}")
    if outcome.failed:
        task.notebook.note(output[-_TAIL:])
    if not outcome.passed:
        raise RuntimeError(f"no test ran:\n{output[-_TAIL:]}")


def read_outcome(xml: str) -> Outcome:
    """What pytest's JUnit file says."""
    passed, failed = 0, []
    for case in ElementTree.fromstring(xml).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" not in kinds:
            passed += 1
    return Outcome(passed, failed)


def _run_tests(file: Path, tests: Sequence[str]) -> str:
    """Run pytest, whose JUnit file goes to `file`; returns what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", f"--junitxml={file}", *tests]
    environment = {**os.environ, "MARCOT_TEST_DEVICE": "cuda", "KERNEL_SETS": "triton"}
    try:
        ended = subprocess.run(
            command,
            cwd=_ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        output = late.stdout or b""
        return f"no end after {_TIMEOUT_S} s\n{output.decode() if isinstance(output, bytes) else output}"
    return ended.stdout
