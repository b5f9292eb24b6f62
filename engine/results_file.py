"""The file that `marcot search --out` appends to and resumes from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .errors import InputError
from .file_lock import lock
from .json_form import JsonObject, to_line
from .question_file import Question


class ResultsFile:
    """One JSON line per question, written in one piece and synced to disk, so that a crash loses at most a last line.

    Opening it repairs such a torn line and finds what is done already: questions of the same position and text that
    have a result. Questions that failed are tried again; of two lines about a question, the later one counts.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Open `path`, or make it.

        Args:
            path: The file.
            settings: What results depend on; every line of the file must have been made with the same.

        Raises:
            InputError: The file cannot be written, another run writes to it, it has other lines in it, or it was made
                with other settings.
        """
        self._path = path
        self._done: set[tuple[int, str]] = set()
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from error
        lock(self._file, f"{path}: another run is writing to it; wait for it, or give --out another file")
        try:
            self._read(settings)
        except BaseException:
            self._file.close()
            raise

    def has(self, question: Question) -> bool:
        """Whether the file has a result of `question`."""
        return (question.index, question.text) in self._done

    def append(self, entry: JsonObject) -> None:
        """Write `entry` and wait until it is on the disk."""
        self._file.write(to_line(entry).encode(errors="backslashreplace") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def _read(self, settings: Mapping[str, Any]) -> None:
        self._file.seek(0)
        # Through JSON and back, as the settings in the file have gone.
        wanted = json.loads(to_line(dict(settings)))
        for number, line in enumerate(self._file, 1):
            where = f"{self._path}, line {number}"
            if not line.endswith(b"\n"):
                self._file.truncate(self._file.tell() - len(line))
                break
            entry = _parse(line, where)
            _check_settings(entry["settings"], wanted, where)
            if "error" not in entry:
                self._done.add((entry["index"], entry["question"]))
        self._file.seek(0, os.SEEK_END)


def _parse(line: bytes, where: str) -> JsonObject:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or not {"index", "question", "settings"} <= entry.keys():
        raise InputError(f"{where}: is not a result of marcot search; give --out another file")
    return entry


def _check_settings(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    differing = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if differing:
        changes = ", ".join(f"{key} was {found.get(key)!r}, is {wanted.get(key)!r}" for key in differing)
        raise InputError(f"{where}: was made with other settings ({changes}); use the same, or another --out file")
