"""Marco-o1's format of a trace: `<Thought>` reasoning `</Thought>` `<Output>` answer `</Output>`."""

from __future__ import annotations

import re
from typing import NamedTuple

_TAG = re.compile(r"</?(?:Thought|Output)>", re.IGNORECASE)
_WHOLE = re.compile(
    r"\s*<Thought>(?P<thought>.*?)</Thought>\s*<Output>(?P<output>.*?)</Output>\s*", re.IGNORECASE | re.DOTALL
)
_TAGS = 4


class ThoughtOutput(NamedTuple):
    """The two parts of a trace, without surrounding whitespace."""

    thought: str
    output: str

    def __str__(self) -> str:
        return f"<Thought>\n{self.thought}\n</Thought>\n<Output>\n{self.output}\n</Output>"


def has_tags(text: str) -> bool:
    """Whether `text` contains any of the four tags."""
    return _TAG.search(text) is not None


def parse_thought_output(text: str) -> ThoughtOutput | None:
    """The two parts of `text` if it has exactly this format and neither part is empty; otherwise None."""
    # Tags are counted first, because on a text with many tags the pattern would try every combination.
    match = _WHOLE.fullmatch(text) if len(_TAG.findall(text)) == _TAGS else None
    if match is None:
        return None
    parts = ThoughtOutput(match["thought"].strip(), match["output"].strip())
    return parts if parts.thought and parts.output else None


def to_thought_output(text: str, answer: str) -> str:
    """`text` in the format: its own parts if it has them, otherwise all of it as the thought, then `answer`."""
    return str(parse_thought_output(text) or ThoughtOutput(text.strip(), answer.strip()))
