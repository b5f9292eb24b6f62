"""Results of pytest-benchmark."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture


def median_round(benchmark: BenchmarkFixture) -> float:
    """Return the median time of the rounds that `benchmark` has run, in seconds."""
    assert benchmark.stats is not None
    return float(benchmark.stats.stats.median)
