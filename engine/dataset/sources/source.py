"""The source files of a data set, read entry by entry."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ....model.files.strict_json import parse
from ...errors import InputError
from ..json_array import read_elements
from ..trace import ReasoningTrace
from .cot_sample import is_cot_sample, parse_sample
from .result_line import is_result_line, is_trial_line, parse_traces, parse_trial

_BOM = b"\xef\xbb\xbf"


class EntrySpan(NamedTuple):
    """The position of an entry in its file.

    Attributes:
        number: Number of its line or array element, from 1.
        offset: Offset of its first byte.
        length: Length in bytes.
    """

    number: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class FailedSearch:
    """A result line of a search that failed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The contents of an entry.

    Attributes:
        question: The question.
        traces: The answers to it.
        is_search: Whether the entry is the result of a search rather than a sample from another data set.
        model: The model that the search used; None if the entry does not name it.
    """

    question: str
    traces: tuple[ReasoningTrace, ...]
    is_search: bool
    model: str | None


class Source:
    """A file of JSON lines, or with one JSON array.

    Its entries are results of `marcot search` or `marcot eval --full`, chain-of-thought samples from other data sets,
    or a mixture.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`.

        Raises:
            InputError: The file cannot be read.
        """
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        head = self._file.read(4096)
        self._start = len(_BOM) if head.startswith(_BOM) else 0
        self._is_array = head[self._start :].lstrip().startswith(b"[")

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self.path.stat().st_size

    def sha256(self) -> str:
        """Hexadecimal digest of the file."""
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()

    def spans(self) -> Iterator[EntrySpan]:
        """Yield the positions of the entries; `read` may be called during the iteration."""
        with self.path.open("rb") as file:
            file.seek(self._start)
            if self._is_array:
                number = 0
                try:
                    for number, element in enumerate(read_elements(file), 1):
                        yield EntrySpan(number, element.offset, len(element.data))
                except EOFError:
                    raise InputError(
                        f"{self.path}: the array ends in the middle, after {number} elements; fetch the file again"
                    ) from None
                except ValueError as error:
                    raise InputError(f"{self.path}: {error}; remove what follows the array") from None
                return
            offset = self._start
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield EntrySpan(number, offset, len(line))
                offset += len(line)

    def read(self, span: EntrySpan) -> Entry | FailedSearch:
        """Read an entry.

        Raises:
            InputError: The entry is invalid; the message says where it is, what is wrong and what to do.
        """
        self._file.seek(span.offset)
        data = self._file.read(span.length)
        try:
            return _parse(data)
        except InputError as error:
            kind = "element" if self._is_array else "line"
            raise InputError(
                f"{self.path}, {kind} {span.number}: {error}; correct it, remove it, or skip every invalid entry "
                "with --skip-bad"
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _parse(data: bytes) -> Entry | FailedSearch:
    try:
        entry: Any = parse(data)
    except ValueError as error:
        torn = "" if data.endswith(b"\n") else " (is the file cut off there?)"
        raise InputError(f"{error}{torn}") from None
    if not isinstance(entry, dict):
        raise InputError("is not an object")
    if is_trial_line(entry):
        entry = parse_trial(entry)
    if is_result_line(entry):
        traces = tuple(parse_traces(entry))
        model = entry["settings"].get("model")
        question = entry["question"]
        if not question.strip():
            raise InputError("the question is empty")
        return Entry(question, traces, True, model if isinstance(model, str) else None)
    if isinstance(entry.get("error"), str) and "question" in entry:
        return FailedSearch()
    if is_cot_sample(entry):
        trace = parse_sample(entry)
        return Entry(trace.question, (trace,), False, None)
    raise InputError(
        'is neither a result of marcot search or marcot eval --full ("question", "rollouts", "tree") nor a sample '
        '("instruction" and "response", or "messages")'
    )
