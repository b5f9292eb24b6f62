"""Marco-o1's form of a trace: `<Thought>` reasoning `</Thought>` `<Output>` answer `</Output>`."""

from __future__ import annotations

import re
from typing import NamedTuple

_TAG = re.compile(r"</?(?:Thought|Output)>", re.IGNORECASE)
_WHOLE = re.compile(
    r"\s*<Thought>(?P<thought>.*?)</Thought>\s*<Output>(?P<output>.*?)</Output>\s*", re.IGNORECASE | re.DOTALL
)
_TAGS = 4


class ThoughtOutput(NamedTuple):
    """The two parts of a trace, without space around them."""

    thought: str
    output: str

    def __str__(self) -> str:
        return f"<Thought>\n{self.thought}\n</Thought>\n<Output>\n{self.output}\n</Output>"


def has_tags(text: str) -> bool:
    """Whether any of the four tags is in `text`."""
    return _TAG.search(text) is not None


def parse_thought_output(text: str) -> ThoughtOutput | None:
    """The parts of a text that is in the form and nothing else, with something in both; otherwise None."""
    # Counted first: among many tags the pattern would try each with each.
    match = _WHOLE.fullmatch(text) if len(_TAG.findall(text)) == _TAGS else None
    if match is None:
        return None
    parts = ThoughtOutput(match["thought"].strip(), match["output"].strip())
    return parts if parts.thought and parts.output else None


def to_thought_output(text: str, answer: str) -> str:
    """`text` in the form: as it is if it has it already, otherwise as the thought before `answer`."""
    return str(parse_thought_output(text) or ThoughtOutput(text.strip(), answer.strip()))
