"""Questions from the command line or from a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...model.files.strict_json import parse
from ..errors import InputError
from ..search.answers import known_reference


@dataclass(frozen=True, slots=True)
class InputQuestion:
    """One question of a request.

    Attributes:
        index: Position among the questions of its file.
        text: The question.
        fields: What else the file says about it; a reference answer is under `"answer"`.
    """

    index: int
    text: str
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def reference(self) -> str | None:
        """The answer that the file says is right; None if it says none, or a blank one."""
        return known_reference(self.fields.get("answer"))


def read_questions(path: Path) -> list[InputQuestion]:
    """Read a file of questions; blank lines do not count.

    - `.txt`: one question per line.
    - `.jsonl`: one object per line with the question under `"question"`; other fields are kept.
    - `.tsv`: the question, and in a second column the reference answer if there is one. No header, no quoting.

    Raises:
        InputError: The file is missing, empty, of another kind, or a line of it makes no sense; says which.
    """
    split = _PARSERS.get(path.suffix.lower())
    if split is None:
        raise InputError(f"{path}: questions come from {', '.join(_PARSERS)} files")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    questions: list[InputQuestion] = []
    # Not `splitlines`, which would also break at characters that may stand inside a question.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            question, fields = split(line.rstrip("\r"), f"{path}, line {number}")
            if not question.strip():
                raise InputError(f"{path}, line {number}: the question is empty")
            questions.append(InputQuestion(len(questions), question.strip(), fields))
    if not questions:
        raise InputError(f"{path}: there is no question in it")
    return questions


def _parse_text(line: str, where: str) -> tuple[str, dict[str, Any]]:
    return line, {}


def _parse_json(line: str, where: str) -> tuple[str, dict[str, Any]]:
    try:
        entry = parse(line)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    if not isinstance(entry, dict) or not isinstance(entry.get("question"), str):
        raise InputError(f'{where}: must be an object with a string under "question"')
    question: str = entry.pop("question")
    return question, entry


def _parse_table(line: str, where: str) -> tuple[str, dict[str, Any]]:
    question, *columns = line.split("\t")
    return question, {"answer": columns[0].strip()} if columns and columns[0].strip() else {}


_PARSERS = {".txt": _parse_text, ".jsonl": _parse_json, ".tsv": _parse_table}
