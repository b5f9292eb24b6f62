"""Measurements are written, read back, and inserted into the page of benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.common.machine import Machine
from bench.search.report import text, update_page
from bench.search.results import Counts, Entry, InFlight, SearchResults
from bench.search.workload import QUICK


def entry(name: str, *seconds: float, scale: float = 1.0) -> Entry:
    return Entry(name, "int8", [each * scale for each in seconds], list(seconds), list(seconds), scale, 1.0, 0.7, 0.0)


RESULTS = SearchResults(
    machine=Machine("a processor", 2, 0.0, {}, 30e9, 200e9),
    versions={"marcot": "1"},
    model="a model",
    workload=QUICK,
    counts=Counts(branches=4, waves=2, drawn=1000, prompt=100, reused=500),
    entries=[
        entry("marcot", 2.0, 9.0, 4.0),
        entry("llama.cpp", 8.0, 12.0, 9.0),
        entry("generate()", 5.0, scale=10.0),
        entry("OpenVINO GenAI", 10.0, 11.0, 9.0),
    ],
    in_flight=[InFlight(1, 3.0, 50.0, 7.0, 100.0), InFlight(64, 60.0, 95.0, 8.0, 100.0)],
    time_shares={"kernels": 9.0, "text": 1.0},
    notes=[],
)


def test_ratios_are_of_medians_and_missed_ones_are_listed() -> None:
    assert [RESULTS.ratio(each) for each in RESULTS.entries] == [1.0, 9.0 / 4.0, 50.0 / 4.0, 10.0 / 4.0]
    assert RESULTS.missed == ["llama.cpp takes 2.25 times as long as marcot, less than 2.5"]
    slow = RESULTS._replace(in_flight=[InFlight(64, 60.0, 85.0, 8.0, 100.0)], entries=RESULTS.entries[:1])
    assert slow.missed == ["64 questions in flight reach 85% of decoding, less than 90%"]


def test_results_are_read_back(tmp_path: Path) -> None:
    RESULTS.write(tmp_path / "search.json")
    assert SearchResults.read(tmp_path / "search.json") == RESULTS


def test_the_page_gets_the_tables_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench-search -->\nold\n<!-- /bench-search -->\nafter\n")
    update_page(page, RESULTS)
    update_page(page, RESULTS)
    assert page.read_text() == f"before\n<!-- bench-search -->\n{text(RESULTS)}<!-- /bench-search -->\nafter\n"
    for cells in (
        "| 4.0 | 250.0 |",
        "| 50.0 (scaled) | 20.0 | 12.5x | 10x |",
        "| 64 | 60.0 | 95.0 | 8.0 | 100.0 | 95% |",
    ):
        assert cells in page.read_text()
    assert "OpenVINO GenAI leaves out the five best log-probabilities" in page.read_text()


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here\n")
    with pytest.raises(ValueError, match="there is no <!-- bench-search -->"):
        update_page(page, RESULTS)
    assert page.read_text() == "nothing here\n"
