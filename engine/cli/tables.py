"""Prints reports on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from ..evaluation import Section, print_sections, to_text
from ..text.terminal import Terminal


def print_tables(sections: Iterable[Section]) -> None:
    """Print a report: on a terminal, as wide as it is; elsewhere plain, and as wide as its tables or as COLUMNS."""
    if sys.stdout.isatty():
        print_sections(sections, Terminal())
    else:
        columns = os.environ.get("COLUMNS", "")
        print(to_text(sections, int(columns) if columns.isdecimal() else None), end="")
