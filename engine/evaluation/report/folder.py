"""The files of a report: the tables, the numbers, and the curve as CSV and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...errors import InputError, OutputError
from ...results.json_form import to_line
from ...results.output_file import Recognise, check_replaceable, write_outputs
from .curve_plot import curve_picture, is_curve
from .report import CURVE_COLUMNS, SUMMARY_COLUMNS, Report

_PICTURE = "curve.png"
_RECOGNISE: Mapping[str, Recognise] = {
    "report.md": lambda head: head.startswith(b"## ") and f"\n| {' | '.join(SUMMARY_COLUMNS[:4])} |".encode() in head,
    "report.json": lambda head: head.startswith(b'{"groups": [{"data": '),
    "curve.csv": lambda head: head.startswith(",".join(CURVE_COLUMNS[:4]).encode()),
    _PICTURE: is_curve,
}


def check_report_folder(folder: Path) -> None:
    """Check that writing a report to `folder` would overwrite nothing but an earlier report.

    Raises:
        InputError: A file that is not part of a report is in the way; the message names it.
    """
    for name, recognise in _RECOGNISE.items():
        check_replaceable(
            folder / name, recognise, "part of a report of marcot eval", "move it, or give --out another folder"
        )


def write_report(report: Report, folder: Path) -> InputError | None:
    """Write all files of `report` to `folder`, or none, replacing an earlier report.

    Returns:
        The error that prevented the picture, or None.

    Raises:
        InputError: A file that is not part of a report is in the way.
        OutputError: The report cannot be written.
    """
    check_report_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made a folder: {error.strerror}") from error
    files = {
        "report.md": _bytes(report.markdown()),
        "report.json": _bytes(to_line(report.to_object()) + "\n"),
        "curve.csv": _bytes(report.curve_csv()),
    }
    no_picture: InputError | None = None
    try:
        files[_PICTURE] = curve_picture(report)
    except InputError as error:
        no_picture = error
    write_outputs({folder / name: content for name, content in files.items()})
    return no_picture


def _bytes(text: str) -> bytes:
    return text.encode(errors="backslashreplace")
