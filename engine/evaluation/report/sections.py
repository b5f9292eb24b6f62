"""The sections of a report, rendered as markdown or as text for a terminal or a pipe."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from ...text.printable import printable
from ...text.terminal import Terminal

_UNLIMITED = 10_000
"""A width in columns that fits every table."""


class Heading(NamedTuple):
    """A heading.

    Attributes:
        text: Its text.
        level: 1 for the title, 2 for a section.
    """

    text: str
    level: int = 2


class Table(NamedTuple):
    """A table; all columns except the first are right-aligned.

    Attributes:
        head: Names of the columns.
        rows: The cells of each row.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


Section: TypeAlias = Heading | Table | str
"""A part of a report; a string is a paragraph."""


def to_markdown(sections: Iterable[Section]) -> str:
    """The sections as markdown, with an empty line after each."""
    return printable("\n".join(line for section in sections for line in [*_markdown(section), ""]))


def to_text(sections: Iterable[Section], width: int | None = None) -> str:
    """The sections as plain text with aligned tables.

    Args:
        sections: The sections.
        width: Available columns; unlimited by default.
    """
    out = io.StringIO()
    print_sections(sections, Terminal(out, width=width or _UNLIMITED, force_terminal=False, no_color=True))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def print_sections(sections: Iterable[Section], console: Terminal) -> None:
    """Print the sections. A table wider than the console is printed row by row, with one line per column."""
    for section in sections:
        if isinstance(section, Table):
            grid = _grid(section, console)
            natural = Measurement.get(console, console.options.update(width=_UNLIMITED), grid).maximum
            console.print(grid if natural <= console.width else _records(section), end="")
        elif isinstance(section, Heading):
            console.print(Text(printable(section.text), style="bold"))
        else:
            console.print(Text(printable(section)))
        console.print()


def _grid(table: Table, console: Terminal) -> Grid:
    is_terminal = console.is_terminal
    grid = Grid(
        box=SIMPLE_HEAD if is_terminal else None,
        padding=(0, 1) if is_terminal else (0, 2, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for position, name in enumerate(table.head):
        grid.add_column(Text(_plain(name)), justify="right" if position else "left", no_wrap=True)
    for row in table.rows:
        grid.add_row(*(Text(_plain(cell)) for cell in row))
    return grid


def _records(table: Table) -> RenderableType:
    records = Grid.grid()
    for row in table.rows:
        fields = Grid.grid(padding=(0, 2, 0, 0))
        fields.add_column(overflow="fold")
        fields.add_column(overflow="fold")
        for name, cell in zip(table.head[1:], row[1:], strict=True):
            fields.add_row(Text(_plain(name), style="dim"), Text(_plain(cell)))
        records.add_row(Text(_plain(row[0]), style="bold"))
        records.add_row(Padding(fields, (0, 0, 0, 2)))
    return records


def _markdown(section: Section) -> list[str]:
    match section:
        case Heading(text, level):
            return [f"{'#' * level} {text}"]
        case Table(head, rows):
            ruler = ["---", *["---:"] * (len(head) - 1)]
            return [_line(head), f"| {' | '.join(ruler)} |", *map(_line, rows)]
        case _:
            return [section]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.replace('|', chr(92) + '|').split()) for cell in cells)} |"


def _plain(text: str) -> str:
    """`text` on one line."""
    return printable(" ".join(text.split()))
