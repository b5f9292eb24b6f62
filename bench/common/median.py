"""What pytest-benchmark has timed."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture


def median_round(benchmark: BenchmarkFixture) -> float:
    """The median of the rounds that `benchmark` has run."""
    assert benchmark.stats is not None
    return float(benchmark.stats.stats.median)
