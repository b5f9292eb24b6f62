"""A step of reasoning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .action import Action, Decode, token_border

_STEP_END = re.compile(
    r"\n[^\S\n]*\n+"  # a blank line
    r"|</(?:thought|think)>"  # the end of a thought
    r"|\n(?=[#*\s]*(?:step|步骤)\s*\d)",  # the line before a mark such as "Step 2:" or "### Step 2"
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Step(Action):
    """Ends with a blank line, with a closing thought tag, or before a line that opens with a step mark ("Step 2").

    The cut is at the first token border at or after that place. White space alone is never an action: it stays with its
    neighbour.
    """

    @property
    def name(self) -> str:
        """`"step"`."""
        return "step"

    @property
    def stops(self) -> tuple[str, ...]:
        """A step that is drawn by itself ends at a blank line or a tag; a mark within is only found afterwards."""
        return ("\n\n", "</Thought>", "</thought>", "</think>")

    def cut(self, token_ids: Sequence[int], decode: Decode, confidences: NDArray[np.float32]) -> list[int]:
        """See `Action.cut`."""
        ends: list[int] = []
        while (start := ends[-1] if ends else 0) < len(token_ids):
            ends.append(start + _step_length(token_ids[start:], decode))
        return ends


def _step_length(token_ids: Sequence[int], decode: Decode) -> int:
    """Tokens of the first step of `token_ids`."""
    text = decode(token_ids)
    inked = len(text) - len(text.lstrip())
    match = _STEP_END.search(text, inked)
    if match is None or not text[match.end() :].strip():
        return len(token_ids)
    return token_border(token_ids, match.end(), decode)
