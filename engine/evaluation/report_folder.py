"""The files of a report: tables, numbers, and the curve as rows and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError, OutputError
from ..json_form import to_line
from ..whole_file import Recognise, check_replaceable, write_whole
from .curve_plot import draw_curve, is_curve
from .report import CURVE_COLUMNS, SUMMARY_COLUMNS, Report

_PICTURE = "curve.png"
_RECOGNISE: Mapping[str, Recognise] = {
    "report.md": lambda head: head.startswith(b"## ") and f"\n| {' | '.join(SUMMARY_COLUMNS[:4])} |".encode() in head,
    "report.json": lambda head: head.startswith(b'{"groups": [{"data": '),
    "curve.csv": lambda head: head.startswith(",".join(CURVE_COLUMNS[:4]).encode()),
    _PICTURE: is_curve,
}


def check_report_folder(folder: Path) -> None:
    """Check that a report in `folder` would replace nothing but a report.

    Raises:
        InputError: A file of somebody else is in the way; it is named.
    """
    for name, recognise in _RECOGNISE.items():
        check_replaceable(
            folder / name, recognise, "part of a report of marcot eval", "move it, or give --out another folder"
        )


def write_report(report: Report, folder: Path) -> InputError | None:
    """Write `report` into `folder`, each file whole or not at all, in place of the report that was there.

    Returns:
        Why there is no picture, or None.

    Raises:
        InputError: A file of somebody else is in the way.
        OutputError: It cannot be written.
    """
    check_report_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made a folder: {error.strerror}") from error
    write_whole(folder / "report.md", _bytes(report.markdown()))
    write_whole(folder / "report.json", _bytes(to_line(report.to_object()) + "\n"))
    write_whole(folder / "curve.csv", _bytes(report.curve_csv()))
    try:
        draw_curve(report, folder / _PICTURE)
    except InputError as error:
        return error
    return None


def _bytes(text: str) -> bytes:
    return text.encode(errors="backslashreplace")
