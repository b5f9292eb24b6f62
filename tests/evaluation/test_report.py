from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import pytest
from marcot.engine import InputError
from marcot.engine.evaluation import Report, Series, draw_curve, wilson
from trials import series, trial


@pytest.fixture
def two() -> list[Series]:
    greedy = series("greedy", [trial(0, ["1"]), trial(1, ["2"]), trial(2, ["2"]), trial(3, ["2"])])
    search = series(
        "search", [trial(0, ["1", "1"]), trial(1, ["1", "2"]), trial(2, ["1", "1"]), trial(3, ["2", "1", "2", "3"])]
    )
    return [greedy, search]


def rows(markdown: str, first: str) -> list[list[str]]:
    """Cells of the lines that begin with `first`."""
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in markdown.splitlines()]
    return [line for line in cells if line[0] == first]


def test_the_tables_have_the_numbers(two: list[Series]) -> None:
    text = Report.of(two, budget=40).markdown()
    assert text.startswith("## toy, m\n")
    low, high = (100 * end for end in wilson(3, 4))
    assert rows(text, "strategy")[2][1:] == ["5", "10", "20", "40"]
    totals, paired, curve, rules = rows(text, "search")
    assert totals == [
        *("search", "4", "3", f"75.0 % [{low:.1f}, {high:.1f}]", "68.8 %", "100.0 %", "2.5"),
        *("25", "2.0", "12.5"),
    ]
    assert paired[1:4] == ["4", "2", "0"]
    assert paired[4].startswith("+50.0 [")
    assert paired[5] == "0.500"
    assert curve[1:] == ["0.0 %", "75.0 %", "75.0 %", "75.0 %"]
    assert rules[1:] == ["75.0 %", "75.0 %", "75.0 %", "75.0 %", "75.0 %"]


def test_the_curve_as_rows(two: list[Series]) -> None:
    report = Report.of(two, budget=40)
    found = list(csv.DictReader(io.StringIO(report.curve_csv())))
    assert len(found) == 2 * len(report.budgets)
    for row in found:
        budget = int(row["budget"])
        if row["strategy"] == "greedy":
            # One chain of ten tokens for each question, one of four right.
            assert int(row["right"]) == (1 if budget >= 10 else 0)
            assert float(row["difference"]) == 0.0
        else:
            assert int(row["right"]) == (3 if budget >= 10 else 0)
            assert int(row["any_right"]) == (0 if budget < 10 else 3 if budget < 20 else 4)
            assert float(row["difference"]) == (0.5 if budget >= 10 else 0.0)
        assert float(row["low"]) <= float(row["accuracy"]) <= float(row["high"])
        assert float(row["difference_low"]) <= float(row["difference"]) <= float(row["difference_high"])


def test_the_baseline_can_be_chosen(two: list[Series]) -> None:
    report = Report.of(two, baseline="search")
    [group] = report.groups
    assert (group.baseline.label, [each.label for each in group.others]) == ("search", ["greedy"])
    assert rows(report.markdown(), "greedy")[1][4].startswith("-50.0 [")


def test_the_baseline_is_greedy_wherever_it_stands(two: list[Series]) -> None:
    assert Report.of(reversed(two)).groups[0].baseline.label == "greedy"
    assert Report.of([two[1], series("another", [trial(0, ["1"])])]).groups[0].baseline.label == "search"


def test_models_and_data_sets_are_groups_of_their_own(two: list[Series]) -> None:
    other = series("greedy", [trial(0, ["1"])], model="n")
    empty = Series("late", two[0].settings)
    report = Report.of([*two, other, empty])
    assert [(group.data, group.model, len(group.series)) for group in report.groups] == [
        ("toy", "m", 2),
        ("toy", "n", 1),
    ]


def test_strategies_of_the_same_label_are_numbered(two: list[Series]) -> None:
    again = series("greedy", [trial(0, ["1"])], seed=2)
    [group] = Report.of([two[0], again]).groups
    assert [each.label for each in group.series] == ["greedy", "greedy #2"]


def test_failures_and_missing_pairs_are_said(two: list[Series]) -> None:
    late = Series("late", two[0].settings, {"toy:9:00": trial(8, ["1"])}, failed=2)
    text = Report.of([two[0], late]).markdown()
    assert "Failed: late 2." in text
    assert rows(text, "late")[1][1] == "0"
    assert Report.of([two[0], late]).to_object()["groups"][0]["strategies"][1]["paired"] is None


def test_nothing_to_report_is_an_error(two: list[Series]) -> None:
    with pytest.raises(InputError, match="there are no results"):
        Report.of([Series("late", two[0].settings)])
    with pytest.raises(InputError, match="no strategy is called 'best': there are greedy, search"):
        Report.of(two, baseline="best")


def test_a_bar_in_a_label_does_not_end_a_cell() -> None:
    text = Report.of([series("a|b", [trial(0, ["1"])])]).markdown()
    assert "| a\\|b | 1 | 1 |" in text


def test_the_picture_is_a_png(two: list[Series], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_curve(Report.of(two), tmp_path / "one.png")
    draw_curve(Report.of([*two, series("greedy", [trial(0, ["1"])], model="n")]), tmp_path / "two.png")
    sizes = []
    for name in ("one.png", "two.png"):
        content = (tmp_path / name).read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        sizes.append((int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")))
    assert sizes[1] == (sizes[0][0], 2 * sizes[0][1])


def test_without_matplotlib_it_says_what_to_install(
    two: list[Series], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install 'marcot\[plot\]'"):
        draw_curve(Report.of(two), tmp_path / "one.png")
