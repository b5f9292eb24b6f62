"""Options and report of `make bench-cpu`. The report is printed at the end and written to `bench/results/`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from marcot.kernels import MarcotError
from marcot.model import locate

from .. import RESULTS
from ..common.machine import Machine, measure_machine
from .engine_report import CpuReport
from .lineup import BRANCHES, LINEUP, MODELS
from .results import Results

_CPU_REPORT = pytest.StashKey[CpuReport]()

_WHOLE = {
    "models": " ".join(MODELS),
    "branches": " ".join(map(str, BRANCHES)),
    "contestants": " ".join(one.key for one in LINEUP),
}
"""The complete `make bench-cpu`; the results of a run with fewer are written to a different file."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options that select a part of `make bench-cpu`."""
    group = parser.getgroup("bench-cpu")
    group.addoption("--models", default=_WHOLE["models"], help="built-in names or paths, separated by spaces")
    group.addoption("--branches", default=_WHOLE["branches"], help="numbers, separated by spaces")
    group.addoption("--contestants", default=_WHOLE["contestants"], help="engines, separated by spaces")
    group.addoption("--batched-bench", help="command of a llama-batched-bench program, extra flags included")
    group.addoption("--check", action="store_true", help="fail if a bar is missed")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse what cannot be measured before anything is timed."""
    option = session.config.getoption
    if unknown := set(option("contestants").split()) - set(_WHOLE["contestants"].split()):
        pytest.exit(f"no contestant is called {' or '.join(sorted(unknown))}: choose from {_WHOLE['contestants']}", 2)
    for branches in option("branches").split():
        if not branches.isdecimal() or not 1 <= int(branches) <= max(BRANCHES):
            pytest.exit(f"branches must be from 1 to {max(BRANCHES)}, not {branches}", 2)
    for model in option("models").split():
        try:
            locate(model)
        except MarcotError as error:
            pytest.exit(f"error: {error}", error.exit_code)


@pytest.fixture(scope="session")
def machine() -> Machine:
    """Measure the machine's limits, before anything else."""
    return measure_machine()


@pytest.fixture(scope="session")
def results(machine: Machine, pytestconfig: pytest.Config) -> Iterator[Results]:
    """Collect the measurements of `test_engines.py`, and write them at the end."""
    collected = Results()
    yield collected
    report = CpuReport(machine, collected)
    whole = all(pytestconfig.getoption(name) == default for name, default in _WHOLE.items())
    report.write(RESULTS / ("cpu_decode.json" if whole else "cpu_decode_part.json"))
    pytestconfig.stash[_CPU_REPORT] = report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if `--check` is given and a bar is missed."""
    report = session.config.stash.get(_CPU_REPORT, None)
    if report is not None and report.missed and session.config.getoption("check"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the report."""
    report = config.stash.get(_CPU_REPORT, None)
    if report is not None:
        terminalreporter.write_line(report.text())
        for line in report.missed:
            terminalreporter.write_line(f"missed: {line}", red=True)
