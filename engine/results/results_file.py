"""The file that `marcot search --out` appends to and resumes from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeGuard

from ...model.files.strict_json import RefusedError, parse
from ..errors import InputError, OutputError
from ..search.answers import known_reference
from .added_settings import changes, select_provenance
from .background_sync import BackgroundSync
from .file_lock import lock
from .json_form import JsonObject, to_line
from .output_file import append_all
from .question_file import InputQuestion, QuestionKey, question_key

_TEXT = rb'"(?:[^"\\]|\\.)*"'
_NAME = rb'"index": \d+(?:, "id": (?:TEXT|-?\d+))?'
_BEGINNINGS = tuple(
    re.compile(pattern.replace(b"NAME", _NAME).replace(b"TEXT", _TEXT))
    for pattern in (
        rb'\{NAME, "question": TEXT, "answer": TEXT, "text": "',
        rb'\{"label": TEXT, "index": \d+, "question": "(?:[^"\\]|\\.)*:\d+:[0-9a-f]{8}", "reference": "',
        rb'\{(?:"label": TEXT, )?NAME, "question": TEXT, "error": TEXT, "(?:input|settings)": \{',
    )
)
"""Patterns for the beginnings of lines of `marcot search`, of `marcot eval` and of failed questions. They are specific
enough that hardly any other file matches."""

_FIRST_BYTES = (b'{"index": ', b'{"label": "')

_STDOUT = 1
"""The file descriptor of stdout."""


class ResultsFile:
    """One JSON line per question, written at once and synced to disk meanwhile.

    A crash of the process loses at most the line that it was writing, a power cut also those not synced yet.

    Opening the file cuts off an incomplete last line and finds the questions that are done: those with a result under
    the same id (or position, if they have no id) and text. Questions that failed are tried again. Of two lines about a
    question, the later one counts.

    A last line is cut off only if it is recognised as the beginning of a result line: it is either long enough, or it
    follows result lines. A last line that only lacks its line feed, as some editors write it, is complete.

    Attributes:
        provenance: The settings in its lines that a run determines itself (`added_settings.PROVENANCE`).
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], command: str = "marcot search") -> None:
        """Open or create `path`.

        Args:
            path: The file.
            settings: The settings that results depend on; they must equal those of every line in the file.
            command: The command that writes the file, for messages.

        Raises:
            InputError: The file cannot be written or resumed, another run writes to it, it has lines of another kind,
                or it was made with other settings. The file is unchanged then.
        """
        self._path = path
        self._command = command
        self._done: dict[QuestionKey, str | None] = {}
        self.provenance: dict[str, Any] = {}
        try:
            if path.exists() and not path.is_file():
                raise InputError(
                    f"{path}: is not a regular file, so no run could resume from it; give --out a file, or omit it "
                    "and redirect the output of --json"
                )
            self._file = path.open("a+b", buffering=0)
            if _is_stdout(self._file.fileno()):
                raise InputError(f"{path}: is already where the output goes; give --out another file")
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from error
        lock(self._file, f"{path}: another run is writing to it; wait for it, or give --out another file")
        try:
            self._read(settings)
        except OSError as error:
            self._file.close()
            raise InputError(f"{path}: a run cannot resume from it: {error.strerror}") from error
        except BaseException:
            self._file.close()
            raise
        self._sync = BackgroundSync(self._file)

    def has(self, question: InputQuestion) -> bool:
        """Whether the file has a result of `question` that was compared with its current reference."""
        missing = object()
        return self._done.get(question.key, missing) == question.reference

    def check(self, settings: Mapping[str, Any]) -> None:
        """Check settings that are known only after the file was opened.

        Raises:
            InputError: Its results were made with other settings.
        """
        _check_settings(self.provenance, select_provenance(settings), str(self._path))

    def append(self, entry: JsonObject) -> None:
        """Write `entry`, and have it synced to disk while the run goes on.

        Raises:
            OutputError: It cannot be written completely, and the file is as it was before; or an earlier one cannot be
                synced.
        """
        try:
            append_all(self._file, to_line(entry).encode(errors="backslashreplace") + b"\n")
            self._sync.request()
        except OSError as error:
            raise self._failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._sync.close()
        except OSError as failed:
            raise self._failed(failed) from failed
        finally:
            self._file.close()

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path}: {error.strerror}; fix this and run the same command again to resume")

    def _read(self, settings: Mapping[str, Any]) -> None:
        # Through JSON and back, like the settings in the file.
        wanted = parse(to_line(dict(settings)))
        self._file.seek(0)
        lines = BufferedReader(self._file)
        whole, complete = 0, True
        for number, line in enumerate(lines, 1):
            where = f"{self._path}, line {number}"
            try:
                entry = parse(line)
            except RefusedError as error:
                raise InputError(
                    f"{where}: is not a result of {self._command}: it {error}; give --out another file"
                ) from None
            except ValueError:
                if _is_beginning(line, follows_ours=number > 1):
                    self._file.truncate(whole)
                    break
                entry = None
            if not is_result(entry):
                raise InputError(f"{where}: is not a result of {self._command}; give --out another file")
            _check_settings(entry["settings"], wanted | self.provenance, where)
            self.provenance |= select_provenance(entry["settings"])
            if "error" not in entry:
                self._done[entry_key(entry)] = _reference(entry)
            whole, complete = whole + len(line), line.endswith(b"\n")
        lines.detach()
        if not complete:
            append_all(self._file, b"\n")


def _is_stdout(number: int) -> bool:
    try:
        return os.path.sameopenfile(number, _STDOUT)
    except OSError:
        return False


def is_results_head(head: bytes) -> bool:
    """Whether a file that begins with `head` holds such lines, as far as one can see."""
    return head.startswith(_FIRST_BYTES)


def entry_key(entry: JsonObject) -> QuestionKey:
    """The question that a line is about."""
    return question_key(entry.get("id"), entry["index"], entry["question"])


def is_result(entry: object) -> TypeGuard[JsonObject]:
    """Whether a parsed line is about a question, and names the settings that it was searched with."""
    kinds = {"index": int, "question": str, "settings": dict}
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(name), kind) for name, kind in kinds.items())
        and isinstance(entry.get("id"), str | int | None)
    )


def _is_beginning(line: bytes, *, follows_ours: bool) -> bool:
    """Whether `line`, which is not valid JSON, is an incomplete result line, as a crash leaves it."""
    if line.endswith(b"\n"):
        return False
    if follows_ours:
        return any(line.startswith(each) or each.startswith(line) for each in _FIRST_BYTES)
    return any(each.match(line) for each in _BEGINNINGS)


def _reference(entry: JsonObject) -> str | None:
    """The reference that a result was compared with, from an evaluation or from the question file."""
    given = entry.get("input")
    return known_reference(entry.get("reference", given.get("answer") if isinstance(given, dict) else None))


def _check_settings(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    differing = changes(found, wanted)
    for name, _, _ in differing:
        if name == "checkpoint":
            raise InputError(
                f"{where}: the checkpoint has changed since these results were made; restore the old one, or give "
                "another --out"
            )
        group, _, file = name.partition(".")
        if group == "code":
            raise InputError(
                f"{where}: {file} has changed since these results were made; restore the old one, or give another --out"
            )
    if differing:
        told = ", ".join(f"{name} was {was!r}, is {now!r}" for name, was, now in differing)
        raise InputError(f"{where}: was made with other settings ({told}); use the same, or another --out file")
