"""What counts as one action of a search: where a rollout is cut into nodes."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import InputError

_STEP_END = re.compile(
    r"\n[^\S\n]*\n+"  # a blank line
    r"|</(?:thought|think)>"  # the end of a thought
    r"|\n(?=[#*\s]*(?:step|步骤)\s*\d)",  # the line before a mark such as "Step 2:" or "### Step 2"
    re.IGNORECASE,
)

_NAME = re.compile(r"mini-step-([1-9]\d{0,5})")


@dataclass(frozen=True, slots=True)
class Action:
    """What the model writes between two nodes of the tree (arXiv 2411.14405, section 4).

    A *step* ends with a blank line, with a closing thought tag, or before a line that opens with a step mark
    ("Step 2"). The cut is at the first token border at or after that place. White space alone is never an action: it
    stays with its neighbour.

    Attributes:
        max_tokens: Tokens of an action; None for a step.
    """

    max_tokens: int | None

    @staticmethod
    def named(name: str) -> Action:
        """Return the action called `"step"`, `"token"`, or `"mini-step-N"` for `N` tokens (the paper has 64 and 32).

        Raises:
            InputError: There is no such action.
        """
        if name == "step":
            return Action(None)
        if name == "token":
            return Action(1)
        if match := _NAME.fullmatch(name):
            return Action(int(match[1]))
        raise InputError(f"action {name!r}: must be step, mini-step-64, mini-step-32 (or another number) or token")

    def cut(self, token_ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[int]:
        """Return where each action of `token_ids` ends, as token counts; the last is `len(token_ids)`.

        Args:
            token_ids: What was generated after the state where the first action begins.
            decode: Text of token ids.
        """
        total = len(token_ids)
        if self.max_tokens is not None:
            return [*range(self.max_tokens, total, self.max_tokens), total] if total else []
        ends: list[int] = []
        while (start := ends[-1] if ends else 0) < total:
            ends.append(start + _step_length(token_ids[start:], decode))
        return ends


def _step_length(token_ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> int:
    """Tokens of the first step of `token_ids`."""
    text = decode(token_ids)
    inked = len(text) - len(text.lstrip())
    match = _STEP_END.search(text, inked)
    if match is None or not text[match.end() :].strip():
        return len(token_ids)
    return token_border(token_ids, match.end(), decode)


def token_border(token_ids: Sequence[int], characters: int, decode: Callable[[Sequence[int]], str]) -> int:
    """Return how many tokens it takes until their text has `characters` characters."""
    counts = range(len(token_ids) + 1)
    return bisect_left(counts, characters, key=lambda count: len(decode(token_ids[:count])))
