"""The code blocks of a Markdown page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_FENCED = re.compile(
    r"(?:^<!-- not run by the tests: (?P<excuse>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


class CodeBlock(NamedTuple):
    """The text between two fences.

    Attributes:
        page: File name of the page.
        line: Number of its first line of text, from 1.
        language: The word after the opening fence: `sh`, `python`, `json`, or `text` for anything but code.
        text: The lines, with their line ends.
        excuse: Why no test runs it, from the comment above it; None if one does.
    """

    page: str
    line: int
    language: str
    text: str
    excuse: str | None


def code_blocks(page: Path) -> list[CodeBlock]:
    """All blocks of `page`, in order."""
    source = page.read_text(encoding="utf-8")
    return [
        CodeBlock(
            page.name, source.count("\n", 0, found.start("text")) + 1, found["language"], found["text"], found["excuse"]
        )
        for found in _FENCED.finditer(source)
    ]


def inline_code(page: Path) -> list[str]:
    """The text between backticks outside of the blocks; each is on one line."""
    prose = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]
