"""The tables and the picture of an evaluation."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import InputError
from marcot.engine.evaluation import Report, Series, draw_curve, wilson
from marcot.engine.evaluation.report.curve_plot import curve_figure
from support.searches.trials import series, trial


@pytest.fixture
def two() -> list[Series]:
    greedy = series("greedy", [trial(0, ["1"]), trial(1, ["2"]), trial(2, ["2"]), trial(3, ["2"])])
    search = series(
        "search", [trial(0, ["1", "1"]), trial(1, ["1", "2"]), trial(2, ["1", "1"]), trial(3, ["2", "1", "2", "3"])]
    )
    return [greedy, search]


def rows(markdown: str, first: str) -> list[list[str]]:
    """The cells of the lines that begin with `first`."""
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
            # One chain of ten tokens for each question; one question in four is answered right.
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


def test_failures_and_missing_pairs_are_reported(two: list[Series]) -> None:
    late = Series("late", two[0].settings, {"toy:9:00": trial(8, ["1"])}, {"toy:3:00": 2, "toy:4:00": 3})
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


def colours(panel: Any) -> list[str]:
    """The colours of a panel's lines."""
    return [line.get_color() for line in panel.get_lines()]


def counted(label: str, right: int, questions: int = 4, **settings: Any) -> Series:
    return series(label, [trial(index, ["1" if index < right else "2"]) for index in range(questions)], **settings)


def test_names_are_not_formulas(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_curve(Report.of([counted("$\\frac$", 1, data="$a_{$", model="$^$")]), tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000


@pytest.mark.parametrize("count", [1, 2, 10, 12, 19])
def test_no_two_strategies_of_a_picture_look_alike(count: int) -> None:
    pytest.importorskip("matplotlib")
    labels = ["greedy", *(f"search {number}" for number in range(1, count))]
    curve, ends = curve_figure(Report.of(counted(label, number % 5) for number, label in enumerate(labels))).axes
    assert len(set(colours(curve))) == count
    assert sorted(colours(curve)) == sorted(colours(ends))
    by_colour = {line.get_color(): line for line in curve.get_lines()}
    for line in ends.get_lines():
        same = by_colour[line.get_color()]
        assert (line.get_marker(), line.get_linestyle()) == (same.get_marker(), same.get_linestyle())
    names = [text.get_text().split("\n")[0].removesuffix(" (baseline)") for text in ends.get_yticklabels()]
    assert sorted(names) == sorted(labels)


def test_rows_are_in_the_order_of_the_accuracy_at_the_end() -> None:
    pytest.importorskip("matplotlib")
    curve, ends = curve_figure(Report.of([counted("greedy", 1), counted("worse", 0), counted("better", 3)])).axes
    rows = [text.get_text() for text in ends.get_yticklabels()]
    assert rows == [
        "better\n75.0 % at 10 tokens",
        "greedy (baseline)\n25.0 % at 10 tokens",
        "worse\n0.0 % at 10 tokens",
    ]
    assert [line.get_xdata()[0] for line in ends.get_lines()] == [75.0, 25.0, 0.0]
    assert {line.get_ydata()[-1] for line in curve.get_lines()} == {75.0, 25.0, 0.0}
    assert "tokens" in curve.get_xlabel()
    assert "%" in curve.get_ylabel()


@pytest.mark.parametrize("questions", [1, 4])
def test_a_picture_of_few_questions_has_ticks_and_whole_intervals(questions: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = Report.of([counted("greedy", 0, questions), counted("$x_1$ wide " * 30, questions, questions)])
    figure = curve_figure(report)
    draw_curve(report, tmp_path / "few.png")
    figure.draw_without_rendering()
    curve, ends = figure.axes
    inside = [tick for tick in curve.get_yticks() if 0 <= tick <= curve.get_ylim()[1]]
    assert inside == [0, 25, 50, 75, 100]
    assert len([tick for tick in curve.get_xticks() if curve.get_xlim()[0] <= tick <= curve.get_xlim()[1]]) >= 2
    assert ends.get_xlim()[1] > 100
    box = figure.bbox
    for label in ends.get_yticklabels():
        extent = label.get_window_extent()
        assert 0 <= extent.x0 <= extent.x1 <= box.x1
    assert curve.get_window_extent().width > 0.25 * box.width


def test_without_matplotlib_it_says_what_to_install(
    two: list[Series], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install 'marcot\[plot\]'"):
        draw_curve(Report.of(two), tmp_path / "one.png")
