"""The base class of actions: what the model writes between two nodes of the tree."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""U+FFFD, which invalid UTF-8 decodes to, such as the first bytes of a character that the next tokens complete."""

Decode: TypeAlias = Callable[[Sequence[int]], str]
"""Text of token ids."""


class ActionPrompt(NamedTuple):
    """Text that is given to the model before it writes an action, to tell it what to do next.

    The action ends at one of the `close` texts, after `max_tokens` tokens, or at an end-of-sequence token. After an
    end-of-sequence token the chain still goes on, unless the action is final.

    Attributes:
        kind: Kind of the action.
        text: The text that the model continues; may be empty.
        close: Texts that end the action.
        max_tokens: Maximum tokens to draw for the action.
        final: Whether the chain ends with this action.
    """

    kind: str
    text: str
    close: tuple[str, ...]
    max_tokens: int
    final: bool


Opening = ActionPrompt
"""The old name of `ActionPrompt`, which works until the next release."""


class Action(ABC):
    """What the model writes between two nodes of the tree (arXiv 2411.14405, section 4).

    Normally a whole chain is drawn and then cut into actions. If actions have prompts (`guided`), the chain is drawn
    action by action, each after its prompt.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The action's name in options and results; also the `kind` of its nodes."""

    @abstractmethod
    def cut(self, token_ids: Sequence[int], decode: Decode, confidences: NDArray[np.float32]) -> list[int]:
        """Cut `token_ids` into actions: return the end of each as a token count; the last is `len(token_ids)`.

        Args:
            token_ids: The tokens drawn after the node where the first action begins.
            decode: Converts token ids to text.
            confidences: `[tokens]`, the confidence of each token.
        """

    @property
    def max_tokens(self) -> int | None:
        """Maximum tokens of an action; None if only its text ends it."""
        return None

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings for an action that is drawn by itself (`SearchRun.extend`)."""
        return ()

    @property
    def guided(self) -> bool:
        """Whether actions have prompts that tell the model what to do next; chains are then drawn action by action."""
        return False

    def prompt(self, kinds: Sequence[str], sample: int) -> ActionPrompt | None:
        """The prompt of the next action; None if the model continues without one.

        Args:
            kinds: Kinds of the actions so far, from the first one after the question.
            sample: How many actions were started from this node before.
        """
        return None

    def width(self, kinds: Sequence[str]) -> int | None:
        """Number of children of a node after actions of these kinds; None if the strategy decides."""
        return None

    def backtrack(self) -> tuple[int, ActionPrompt] | None:
        """After a wrong answer: how many actions to go back, and the prompt to continue with; None to do nothing."""
        return None


def token_border(token_ids: Sequence[int], text: str, characters: int, decode: Decode) -> int:
    """Return the smallest number of first tokens, at least one, whose text has `characters` characters or more.

    Args:
        token_ids: The tokens.
        text: The text of all tokens, at least `characters` long.
        characters: The required number of characters.
        decode: Converts token ids to text.
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
    """Return how many characters of `text` each token ends after, or None if the tokens' texts do not add up to `text`.

    They add up unless a character spans several tokens or the tokenizer's decoder depends on neighbouring tokens.
    """
    texts = list(map(decode, zip(token_ids)))
    if UNFINISHED in text or "".join(texts) != text:
        return None
    return list(accumulate(map(len, texts)))
