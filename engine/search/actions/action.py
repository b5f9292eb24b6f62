"""The base class of actions: what the model writes between two nodes of the tree."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What bytes that are not UTF-8 decode to, such as the beginning of a character that the next tokens complete."""

Decode: TypeAlias = Callable[[Sequence[int]], str]
"""Text of token ids."""


class ActionPrompt(NamedTuple):
    """How an action begins, when the model is told what to do next.

    Such an action ends at one of its texts, at its length, or where the model thinks that the chain ends; unless it is
    final, the chain goes on nevertheless.

    Attributes:
        kind: Name of the action.
        text: What is given to the model to go on from; may be empty.
        close: Texts that end the action.
        max_tokens: Tokens that it may draw.
        final: Whether the chain ends with it.
    """

    kind: str
    text: str
    close: tuple[str, ...]
    max_tokens: int
    final: bool


Opening = ActionPrompt
"""The earlier name of `ActionPrompt`, which works until the next release."""


class Action(ABC):
    """What the model writes between two nodes of the tree (arXiv 2411.14405, section 4).

    A chain is drawn in one go and cut into actions afterwards, unless an action has prompts of its own: then it is
    drawn action by action, each after its prompt.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in options and results; also the `kind` of its nodes."""

    @abstractmethod
    def cut(self, token_ids: Sequence[int], decode: Decode, confidences: NDArray[np.float32]) -> list[int]:
        """Return where each action of `token_ids` ends, as token counts; the last is `len(token_ids)`.

        Args:
            token_ids: What was drawn after the state where the first action begins.
            decode: Text of token ids.
            confidences: `[tokens]`, the confidence of each token.
        """

    @property
    def max_tokens(self) -> int | None:
        """Most tokens of an action; None if only its text ends it."""
        return None

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an action that is drawn by itself."""
        return ()

    @property
    def guided(self) -> bool:
        """Whether it has prompts: the model is told, action by action, what to do next."""
        return False

    def prompt(self, kinds: Sequence[str], sample: int) -> ActionPrompt | None:
        """The prompt of the next action; None if the model simply goes on.

        Args:
            kinds: Kinds of the actions from the prompt to here, first to last.
            sample: How many actions were started from this state before.
        """
        return None

    def width(self, kinds: Sequence[str]) -> int | None:
        """How many children a state after actions of these kinds has; None if the strategy decides."""
        return None

    def backtrack(self) -> tuple[int, ActionPrompt] | None:
        """After a wrong answer: how many actions to go back, and the prompt to go on with; None to do nothing."""
        return None


def token_border(token_ids: Sequence[int], text: str, characters: int, decode: Decode) -> int:
    """Return how many of the tokens (at least one) it takes for a text of `characters` characters.

    Args:
        token_ids: The tokens.
        text: Their text, which has at least that many characters.
        characters: The wanted number of characters.
        decode: Text of token ids.
    """
    low, shorter = 0, 0
    high, longer = len(token_ids), len(text)
    guesses = True
    while high - low > 1:
        # Tokens have about the same length, so a guess is off by a few tokens; otherwise bisect.
        share = (characters - shorter) / (longer - shorter) if guesses else 0.5
        middle = min(max(low + round(share * (high - low)), low + 1), high - 1)
        length, width = len(decode(token_ids[:middle])), high - low
        if length < characters:
            low, shorter = middle, length
        else:
            high, longer = middle, length
        guesses = 2 * (high - low) <= width
    return high


def joined_ends(token_ids: Sequence[int], text: str, decode: Decode) -> list[int] | None:
    """Return how many characters of `text` there are after each token, if the texts of the tokens add up to `text`.

    Else None. They add up if no character spans several tokens, unless the tokenizer's decoder depends on neighbours.
    """
    texts = [decode((token,)) for token in token_ids]
    if UNFINISHED in text or "".join(texts) != text:
        return None
    return list(accumulate(map(len, texts)))
