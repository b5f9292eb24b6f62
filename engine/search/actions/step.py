"""Actions of one step of reasoning."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .action import Action, Decode, joined_ends, token_border

_STEP_END = re.compile(
    r"\n[^\S\n]*\n+"  # a blank line
    r"|</(?:thought|think)>"  # the end of a thought
    r"|\n(?=[#*\s]{0,80}(?:step|步骤)\s{0,80}\d)",  # the line before a mark such as "Step 2:" or "### Step 2"
    re.IGNORECASE,
)
_VISIBLE = re.compile(r"\S")

_WINDOW = 128
"""Tokens that are decoded first: most steps are shorter, so a long chain need not be decoded once for each step."""

_AHEAD = 200
"""How many characters after a position are needed to decide whether a step ends there."""


@dataclass(frozen=True, slots=True)
class Step(Action):
    """Ends after a blank line, after a closing thought tag, or before a line that begins with a step mark ("Step 2").

    The cut is at the first token boundary at or after that position. White space alone is never an action; it stays
    with its neighbour.
    """

    @property
    def name(self) -> str:
        """`"step"`."""
        return "step"

    @property
    def stops(self) -> tuple[str, ...]:
        """A step that is drawn by itself ends at a blank line or a tag; step marks in it are found afterwards."""
        return ("\n\n", "</Thought>", "</thought>", "</think>")

    def cut(self, token_ids: Sequence[int], decode: Decode, confidences: NDArray[np.float32]) -> list[int]:
        """See `Action.cut`."""
        text = decode(token_ids)
        characters = joined_ends(token_ids, text, decode)
        if characters is not None:
            return _cut_joined(text, characters)
        ends = [0]
        while ends[-1] < len(token_ids):
            ends.append(_step_end(token_ids, ends[-1], decode))
        return ends[1:]


def _cut_joined(text: str, characters: Sequence[int]) -> list[int]:
    """Where steps end, as token counts; `characters` has the length of `text` up to the end of each token."""
    ends: list[int] = []
    begin, last_visible = 0, len(text.rstrip())
    while (visible := _VISIBLE.search(text, begin)) and (match := _STEP_END.search(text, visible.start())):
        if match.end() >= last_visible:
            break
        ends.append(bisect_left(characters, match.end()) + 1)
        begin = characters[ends[-1] - 1]
    return ends if ends[-1:] == [len(characters)] or not characters else [*ends, len(characters)]


def _step_end(token_ids: Sequence[int], start: int, decode: Decode) -> int:
    """Where the step that begins at `start` ends in `token_ids`."""
    size = _WINDOW
    while True:
        window, left = token_ids[start : start + size], len(token_ids) - start - size
        text = decode(window)
        leading_space = len(text) - len(text.lstrip())
        match = _STEP_END.search(text, leading_space)
        rest = text[match.end() :] if match else ""
        if match and rest.strip() and (left <= 0 or len(rest) >= _AHEAD):
            return start + token_border(window, text, match.end(), decode)
        if left <= 0:
            return len(token_ids)
        size *= 2
