"""The report of a benchmark session: printed at its end and written to `bench/results/`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import measure_machine
from report import Report

_RESULTS = Path(__file__).parent / "results"
_REPORT = pytest.StashKey[Report]()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Iterator[Report]:
    """Collects the timings of the session; the machine's limits are measured first."""
    collected = Report(measure_machine())
    pytestconfig.stash[_REPORT] = collected
    yield collected
    collected.write(_RESULTS / "tree_decode.json")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    collected = config.stash.get(_REPORT, None)
    if collected is not None:
        terminalreporter.write_line(collected.table())
