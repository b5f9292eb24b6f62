"""Questions from the command line or from a file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ...model.files.strict_json import parse
from ..errors import InputError
from ..search.answers import known_reference

QuestionId = str | int
"""A user's own name for a question."""


@dataclass(frozen=True, slots=True)
class InputQuestion:
    """One question of a run.

    Attributes:
        index: Position among the questions of its file.
        text: The question.
        fields: Its other fields in the file; a reference answer is under `"answer"`.
        id: The user's own id for the question, or None. Results are matched to questions by it, even if questions have
            moved in their file.
    """

    index: int
    text: str
    fields: dict[str, Any] = field(default_factory=dict)
    id: QuestionId | None = None

    @property
    def reference(self) -> str | None:
        """The right answer according to the file; None if the file has none or a blank one."""
        return known_reference(self.fields.get("answer"))

    @property
    def key(self) -> QuestionKey:
        """A key that identifies it among the questions of its file."""
        return question_key(self.id, self.index, self.text)


QuestionKey = tuple[str, QuestionId, str]
"""A question's id, or else its position, and its text."""


def question_key(id: QuestionId | None, index: int, text: str) -> QuestionKey:
    """Identify a question by its id if it has one, else by its position; its text must be the same as well."""
    return ("index", index, text) if id is None else ("id", id, text)


class FieldNames(NamedTuple):
    """Names of the fields in a question file; `.txt` files have no fields.

    Attributes:
        text: Name of the field with the question.
        id: Name of the field with the question's id; None if there is none.
    """

    text: str = "question"
    id: str | None = None


_USUAL = FieldNames()


class _Record(NamedTuple):
    """A question as it is in its file.

    Attributes:
        where: File and line, for messages.
        fields: Its fields by name.
    """

    where: str
    fields: dict[str, Any]


def read_questions(path: Path, names: FieldNames = _USUAL) -> list[InputQuestion]:
    """Read a file of questions, skipping blank lines.

    - `.txt`: one question per line.
    - `.jsonl`: one object per line with the question under `"question"`; other fields are kept.
    - `.csv`: a header line, then one record per question, quoted as spreadsheets do.
    - `.parquet`: a column of texts; other columns are kept (needs `pip install 'marcot[parquet]'`).
    - `.tsv`: the question, and in a second column the reference answer if there is one. No header, no quoting.

    Args:
        path: The file.
        names: Names of its fields. A reference answer is always under `"answer"`.

    Raises:
        InputError: The file is missing, empty or of another kind, a record is invalid, or two questions have the same
            id; the message says which.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise InputError(f"{path}: question files end in {', '.join(_READERS)}")
    if names != _USUAL and path.suffix.lower() in _WITHOUT_FIELDS:
        raise InputError(f"{path}: has no named fields; use a .jsonl, .csv or .parquet file for those")
    questions: list[InputQuestion] = []
    ids: dict[QuestionId, str] = {}
    for where, fields in read(path):
        text = fields.pop(names.text, None)
        if not isinstance(text, str):
            have = f"; it has {', '.join(map(repr, fields))}" if fields else ""
            raise InputError(f'{where}: must have a text under "{names.text}"{have}')
        if not text.strip():
            raise InputError(f"{where}: the question is empty")
        own = None if names.id is None else _parse_id(fields, names.id, where)
        if own is not None and ids.setdefault(own, where) is not where:
            raise InputError(f"{where}: has the same id as {ids[own]}: {own!r}; give every question its own id")
        questions.append(InputQuestion(len(questions), text.strip(), fields, own))
    if not questions:
        raise InputError(f"{path}: has no questions{_WHERE_TO_PUT.get(path.suffix.lower(), '; put one on each line')}")
    return questions


def _parse_id(fields: dict[str, Any], name: str, where: str) -> QuestionId:
    found = fields.pop(name, None)
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        raise InputError(f'{where}: must have a text or an integer under "{name}", its id')
    return found


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start}): save it as UTF-8") from error


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """The place and the text of each line that is not blank."""
    # `splitlines` would also break at characters that may be inside a question.
    for number, line in enumerate(_read_text(path).split("\n"), 1):
        if line.strip():
            yield f"{path}, line {number}", line.rstrip("\r")


def _read_txt(path: Path) -> Iterator[_Record]:
    for where, line in _lines(path):
        yield _Record(where, {"question": line})


def _read_jsonl(path: Path) -> Iterator[_Record]:
    for where, line in _lines(path):
        try:
            entry = parse(line)
        except ValueError as error:
            raise InputError(f"{where}: {error}; put one object on each line") from None
        if not isinstance(entry, dict):
            raise InputError(f"{where}: must be a JSON object")
        yield _Record(where, entry)


def _read_tsv(path: Path) -> Iterator[_Record]:
    for where, line in _lines(path):
        question, *columns = line.split("\t")
        answer = columns[0].strip() if columns else ""
        yield _Record(where, {"question": question} | ({"answer": answer} if answer else {}))


def _read_csv(path: Path) -> Iterator[_Record]:
    text = _read_text(path)
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # the limit is one for the whole process
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = row
                if len(set(header)) < len(header):
                    raise InputError(f"{where}: two columns have the same name")
            elif len(row) != len(header):
                raise InputError(f"{where}: has {len(row)} column{'s' * (len(row) != 1)}, but the header {len(header)}")
            else:
                yield _Record(where, dict(zip(header, row, strict=True)))
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: is not CSV: {error}") from None
    finally:
        csv.field_size_limit(limit)


def _read_parquet(path: Path) -> Iterator[_Record]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise InputError(f"{path}: .parquet files need pyarrow: pip install 'marcot[parquet]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            rows = 0
            for batch in file.iter_batches():
                for record in batch.to_pylist():
                    rows += 1
                    yield _Record(f"{path}, row {rows}", {name: _as_json(value) for name, value in record.items()})
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, ArrowException) as error:
        raise InputError(f"{path}: cannot be read as parquet: {error}") from error


def _as_json(value: object) -> Any:  # noqa: ANN401  (whatever a column holds)
    """Convert `value` to JSON types; dates, decimals and bytes become text."""
    if isinstance(value, dict):
        return {str(name): _as_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


_READERS = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".tsv": _read_tsv,
}
_WITHOUT_FIELDS = (".txt", ".tsv")
_WHERE_TO_PUT = {".csv": "; put one on each line below the header", ".parquet": ""}
