"""Tables in markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table with an empty line after it; all columns but the first are set to the right."""
    ruler = ["---", *["---:"] * (len(head) - 1)]
    lines = [_line(head), f"| {' | '.join(ruler)} |", *map(_line, rows)]
    return [*lines, ""]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.replace('|', chr(92) + '|').split()) for cell in cells)} |"
