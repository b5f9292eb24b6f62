"""Real text for comparing predictions: questions in two languages, documentation and code."""

from __future__ import annotations

from typing import NamedTuple

from marcot.engine.evaluation import problems
from marcot.model import Tokenizer

from .. import ROOT

WINDOW_TOKENS = 1024
"""Tokens per window: about a question with a few examples and a chain of reasoning."""


class Text(NamedTuple):
    """A text.

    Attributes:
        name: Name in the table.
        content: The whole text.
    """

    name: str
    content: str


class Window(NamedTuple):
    """A piece of a text, read without the text before it.

    Attributes:
        text: Name of the text.
        ids: At most `WINDOW_TOKENS` token ids, after a beginning-of-text token if the tokenizer adds one.
    """

    text: str
    ids: list[int]


def texts() -> list[Text]:
    """Return the questions of MGSM, and documentation and code of this repository."""
    return [
        Text("English questions", "\n\n".join(problem.question for problem in problems("en"))),
        Text("Chinese questions", "\n\n".join(problem.question for problem in problems("zh"))),
        Text("documentation", _joined("README.md", "docs/design.md")),
        Text("code", _joined("engine/kv/tree.py", "engine/scheduler/scheduler.py")),
    ]


def windows(text: Text, tokenizer: Tokenizer, tokens: int) -> list[Window]:
    """Cut the first `tokens` tokens of `text` into windows; drop a last one of a single token: it predicts nothing."""
    ids = tokenizer.encode(text.content)[:tokens]
    start = tokenizer.encode("", bos=tokenizer.adds_bos)
    runs = [ids[first : first + WINDOW_TOKENS] for first in range(0, len(ids), WINDOW_TOKENS)]
    return [Window(text.name, start + run) for run in runs if len(run) > 1]


def _joined(*files: str) -> str:
    return "\n\n".join((ROOT / file).read_text() for file in files)
