"""A language model: a function that returns one token at a time."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Sequence

from support.searches.toy_world import EOS, GREEDY, WORDS

BLANK, MARK = WORDS.index("\n\n"), WORDS.index("\nStep 2:")

Draw = Callable[[Sequence[int], int, int], tuple[int, float]]


class Model:
    """Counts how often each state was continued, and how many tokens were drawn."""

    def __init__(self, draw: Draw, prompt: str) -> None:
        self._draw = draw
        self._prompt = tuple(100 + byte for byte in prompt.encode())
        self._asked: Counter[tuple[int, ...]] = Counter()
        self.drawn = 0

    def write(
        self, state: tuple[int, ...], most: int, stop: int | None, greedy: bool = False
    ) -> tuple[list[int], list[float]]:
        """Continue `state` up to the end of sequence, the token `stop`, or `most` tokens."""
        sample = GREEDY if greedy else self._asked[state]
        self._asked[state] += 1
        tokens: list[int] = []
        confidences: list[float] = []
        while len(tokens) < most and not (tokens and tokens[-1] in (EOS, stop)):
            token, confidence = self._draw([*self._prompt, *state], sample, len(tokens))
            tokens.append(token)
            confidences.append(*struct.unpack("f", struct.pack("f", confidence)))
        self.drawn += len(tokens)
        return tokens, confidences


def text_of(tokens: Sequence[int]) -> str:
    return "".join(WORDS[token] for token in tokens)


def last_number(text: str) -> str:
    """The last number of a text. If two share a place, as in "8 8", it makes no difference which."""
    return max((word for word in ("six", "two", "eight", "8", "9") if word in text), key=text.rfind, default="")


def steps(tokens: list[int]) -> list[list[int]]:
    """Cut after blank lines, and before every step mark but the first; blank text alone is no step."""
    for at in range(len(tokens)):
        if tokens[at] not in (BLANK, MARK) or not text_of(tokens[:at]).strip():
            continue
        end = at + 1
        while tokens[end - 1] == BLANK and end < len(tokens) and tokens[end] in (BLANK, MARK):
            end += 1
        if tokens[end - 1] != MARK and not text_of(tokens[end:]).strip():
            return [tokens]
        return [tokens[:end], *steps(tokens[end:])]
    return [tokens] if tokens else []


def cut(tokens: list[int], action: str) -> list[list[int]]:
    """Cut tokens into actions: `"step"`, `"token"` or `"mini-step-N"`."""
    if action == "step":
        return steps(tokens)
    length = size(action) or 1
    return [tokens[first : first + length] for first in range(0, len(tokens), length)]


def size(action: str) -> int | None:
    """The number of tokens of an action; None if it varies."""
    return None if action == "step" else 1 if action == "token" else int(action.removeprefix("mini-step-"))
