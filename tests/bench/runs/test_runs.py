"""`make bench-runs` on a few questions, and the limits that it judges by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.runs.__main__ import faults_of, slowdown
from bench.runs.driver_cost import driver_cost
from bench.runs.large_tree import BRANCHES, Growth, watch_growth
from bench.runs.long_run import Stretch, watch_run

STEADY = [Stretch(1000 * number, 1.0, 100.0, 7, 7) for number in range(1, 21)]
GROWTH = [Growth(1000 * number, 30.0) for number in range(1, 21)]


def test_a_run_is_watched_in_parts(tmp_path: Path) -> None:
    told: list[Stretch] = []
    out = tmp_path / "results.jsonl"
    parts = watch_run(11, 4, out, told.append)
    assert [part.questions for part in parts] == [4, 8], "the rest is no whole part"
    assert told == parts
    assert all(part.cpu_ms > 0 and part.memory_mb > 1 for part in parts)
    assert all(part.live_nodes == part.tree_nodes > 1 for part in parts)
    assert {json.loads(line)["index"] for line in out.read_text().splitlines()} == set(range(11))


def test_a_question_costs_the_driver_bytes_and_time() -> None:
    one, many = driver_cost(1, 20), driver_cost(9, 20)
    assert (one.replicas, one.questions, many.replicas) == (1, 20, 9)
    assert one.bytes_in == many.bytes_in > one.bytes_out > 0
    assert one.bytes_written > 0 < one.cpu_ms


def test_a_steady_run_has_no_faults() -> None:
    assert slowdown([part.cpu_ms for part in STEADY]) == 1.0
    assert faults_of(STEADY, GROWTH) == []


def test_a_tree_that_becomes_slow_is_a_fault() -> None:
    slow = [Growth(part.nodes, part.us * (1 + number / 100)) for number, part in enumerate(GROWTH)]
    assert faults_of(STEADY, slow) == ["the last tenth of the nodes is 1.13x as slow as the third"]


def test_the_growth_of_a_tree_is_watched_in_parts() -> None:
    told: list[Growth] = []
    parts = watch_growth(4 * BRANCHES, 2, told.append)
    assert told == parts
    assert [part.nodes for part in parts] == [1 + 2 * BRANCHES, 1 + 4 * BRANCHES]
    assert all(part.us > 0 for part in parts)


FAULTS = {
    "leak": (slice(5, 6), {"live_nodes": 9}, "9 live nodes, 7 in the tree"),
    "memory": (slice(-1, None), {"memory_mb": 106.0}, "memory grew from 100 to 106 MB"),
    "time": (slice(-2, None), {"cpu_ms": 1.2}, "the last tenth of the questions is 1.20x as slow as the third"),
}


@pytest.mark.parametrize(("where", "change", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults(where: slice, change: dict[str, float], fault: str) -> None:
    parts = list(STEADY)
    parts[where] = [Stretch(**{**vars(part), **change}) for part in parts[where]]
    assert faults_of(parts, GROWTH) == [fault]
