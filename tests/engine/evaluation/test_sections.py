"""Tables in Markdown, on terminals of any width, and in pipes."""

from __future__ import annotations

import io

import pytest
from marcot.engine.evaluation import Heading, Section, Table, print_sections, to_markdown, to_text
from rich.cells import cell_len
from rich.console import Console

ROWS = [["greedy", "3", "15.0 % [5.2, 36.0]"], ["搜索", "12", "60.0 %"]]
TABLE = Table(("strategy", "right", "accuracy [95 %]"), ROWS)
SECTIONS: list[Section] = [Heading("mgsm:en, tiny"), TABLE, "Failed: greedy 1."]


def test_markdown() -> None:
    assert to_markdown(SECTIONS).splitlines() == [
        "## mgsm:en, tiny",
        "",
        "| strategy | right | accuracy [95 %] |",
        "| --- | ---: | ---: |",
        "| greedy | 3 | 15.0 % [5.2, 36.0] |",
        "| 搜索 | 12 | 60.0 % |",
        "",
        "Failed: greedy 1.",
    ]


def test_text_is_aligned() -> None:
    heading, _, *table, _, last = to_text(SECTIONS).splitlines()[:-1]
    assert (heading, last) == ("mgsm:en, tiny", "Failed: greedy 1.")
    assert table == [
        "strategy  right     accuracy [95 %]",
        "greedy        3  15.0 % [5.2, 36.0]",
        "搜索         12              60.0 %",
    ]
    assert {cell_len(line) for line in table} == {35}


@pytest.mark.parametrize("width", [20, 30, 34])
def test_a_table_that_does_not_fit_is_printed_row_by_row(width: int) -> None:
    lines = to_text([TABLE], width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert lines[0] == "greedy"
    assert "搜索" in lines
    letters = sorted("".join("".join(lines).split()))
    assert letters == sorted("".join("".join([*map("".join, ROWS), *TABLE.head[1:] * 2]).split()))


def test_a_table_that_just_fits_stays_one() -> None:
    assert to_text([TABLE], 35).splitlines()[0] == "strategy  right     accuracy [95 %]"


def test_a_terminal_gets_a_line_under_the_head() -> None:
    out = io.StringIO()
    print_sections(SECTIONS, Console(file=out, width=80, force_terminal=True, color_system="standard"))
    assert "─────" in out.getvalue()
    assert "\x1b[1mmgsm:en, tiny\x1b[0m" in out.getvalue()


@pytest.mark.parametrize("cell", ["[red]x[/red]", "a\nb\tc", "\x1b[31mred", "|", "[/]"], ids=ascii)
def test_what_a_cell_says_stays_in_it(cell: str) -> None:
    sections = [Table(("name", "answer"), [["one", cell], ["two", "2"]]), cell]
    for width in (None, 8):
        shown = to_text(sections, width)
        assert "\x1b" not in shown
        assert "two" in shown
    assert len(to_markdown(sections[:1]).splitlines()) == 4


def test_a_long_paragraph_is_wrapped_on_a_terminal_only() -> None:
    words = "six and two " * 20
    assert len(to_text([words]).splitlines()) == 2
    assert max(map(len, to_text([words], 30).splitlines())) <= 30
