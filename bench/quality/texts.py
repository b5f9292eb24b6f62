"""Real text to rate: questions in two languages, documentation and code."""

from __future__ import annotations

from typing import NamedTuple

from marcot.engine.evaluation import problems
from marcot.model import Tokenizer

from .. import ROOT

WINDOW_TOKENS = 1024
"""Tokens that are read together: a question with a few examples and a chain of reasoning."""


class Text(NamedTuple):
    """A text.

    Attributes:
        name: What the table calls it.
        content: All of it.
    """

    name: str
    content: str


class Window(NamedTuple):
    """A run of a text's tokens, read without what stands before it.

    Attributes:
        text: Name of the text.
        ids: At most `WINDOW_TOKENS` tokens, after the beginning-of-text token of a tokenizer that wants one.
    """

    text: str
    ids: list[int]


def texts() -> list[Text]:
    """MGSM's questions, and this repository's own documentation and code."""
    return [
        Text("English questions", "\n\n".join(problem.question for problem in problems("en"))),
        Text("Chinese questions", "\n\n".join(problem.question for problem in problems("zh"))),
        Text("documentation", _joined("README.md", "docs/design.md")),
        Text("code", _joined("engine/kv/tree.py", "engine/scheduler/scheduler.py")),
    ]


def windows(text: Text, tokenizer: Tokenizer, tokens: int) -> list[Window]:
    """The first `tokens` tokens of `text`, cut into windows; a last one of a single token has nothing to predict."""
    ids = tokenizer.encode(text.content)[:tokens]
    start = tokenizer.encode("", bos=tokenizer.adds_bos)
    runs = [ids[first : first + WINDOW_TOKENS] for first in range(0, len(ids), WINDOW_TOKENS)]
    return [Window(text.name, start + run) for run in runs if len(run) > 1]


def _joined(*files: str) -> str:
    return "\n\n".join((ROOT / file).read_text() for file in files)
