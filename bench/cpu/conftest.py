"""The reports of a benchmark session: printed at its end and written to `bench/results/`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .. import RESULTS
from ..common.machine import Machine, measure_machine
from .engine_report import CpuReport
from .lineup import BRANCHES, LINEUP, MODELS
from .results import Results
from .tree_report import Report

_REPORT = pytest.StashKey[Report]()
_CPU_REPORT = pytest.StashKey[CpuReport]()

_WHOLE = {
    "models": " ".join(MODELS),
    "branches": " ".join(map(str, BRANCHES)),
    "contestants": " ".join(one.key for one in LINEUP),
}
"""What `make bench-cpu` runs; a part of it is written to a file of its own."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """What part of `make bench-cpu` to run."""
    group = parser.getgroup("bench-cpu")
    group.addoption("--models", default=_WHOLE["models"], help="built-in names, separated by spaces")
    group.addoption("--branches", default=_WHOLE["branches"], help="numbers, separated by spaces")
    group.addoption("--contestants", default=_WHOLE["contestants"], help="engines, separated by spaces")
    group.addoption("--batched-bench", help="command of a llama-batched-bench program, extra flags included")
    group.addoption("--check", action="store_true", help="fail if a bar is missed")


@pytest.fixture(scope="session")
def machine() -> Machine:
    """The machine's limits, measured before anything else."""
    return measure_machine()


@pytest.fixture(scope="session")
def report(machine: Machine, pytestconfig: pytest.Config) -> Iterator[Report]:
    """Collects the timings of `test_tree_decode.py`."""
    collected = Report(machine)
    pytestconfig.stash[_REPORT] = collected
    yield collected
    collected.write(RESULTS / "tree_decode.json")


@pytest.fixture(scope="session")
def results(machine: Machine, pytestconfig: pytest.Config) -> Iterator[Results]:
    """Collects the measures of `test_cpu_decode.py`."""
    collected = Results()
    yield collected
    report = CpuReport(machine, collected)
    whole = all(pytestconfig.getoption(name) == default for name, default in _WHOLE.items())
    report.write(RESULTS / ("cpu_decode.json" if whole else "cpu_decode_part.json"))
    pytestconfig.stash[_CPU_REPORT] = report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With `--check`, a missed bar fails the session."""
    report = session.config.stash.get(_CPU_REPORT, None)
    if report is not None and report.missed and session.config.getoption("check"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the tables."""
    collected = config.stash.get(_REPORT, None)
    if collected is not None:
        terminalreporter.write_line(collected.table())
    report = config.stash.get(_CPU_REPORT, None)
    if report is not None:
        terminalreporter.write_line(report.text())
        for line in report.missed:
            terminalreporter.write_line(f"missed: {line}", red=True)
