"""The benchmark of the kernels as a library: its three methods must agree."""

from __future__ import annotations

from bench.attention import as_library


def test_all_ways_are_timed() -> None:
    """`measure` itself compares their results."""
    times = as_library.measure(3, rounds=2)
    assert times.branches == 3
    assert min(times[1:]) > 0
    assert as_library.table([times]).row_count == 1
