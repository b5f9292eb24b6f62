"""The question whether a solution is right, and the probability that a model says yes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...model import Tokenizer
from ..errors import InputError
from ..search.trace import Trace

_YES = ("Yes", " Yes", "yes", " yes", "YES", " YES")
_NO = ("No", " No", "no", " no", "NO", " NO")


def verdict_question(trace: Trace) -> str:
    """The message that asks whether a chain is right. The question comes first, so that all its chains share it."""
    return (
        f"Somebody was asked this question:\n\n{trace.question}\n\n"
        f"This is the solution that they wrote:\n\n{trace.text}\n\n"
        "Double-check the solution. Is it right? Answer with Yes or No only."
    )


def verdict_tokens(tokenizer: Tokenizer) -> tuple[frozenset[int], frozenset[int]]:
    """The tokens that begin Yes, and those that begin No, in any spelling; tokens that begin both are in neither.

    Raises:
        InputError: The tokenizer has no such tokens.
    """
    yes, no = (frozenset(tokenizer.encode(word)[0] for word in words) for words in (_YES, _NO))
    yes, no = yes - no, no - yes
    if not yes or not no:
        raise InputError("the judge's tokenizer does not tell Yes from No by their first tokens: use mode=logprob")
    return yes, no


def share_of_yes(answers: Iterable[tuple[str, float]]) -> float | None:
    """The probability of Yes relative to that of Yes or No; None if neither is among `answers`.

    Args:
        answers: Texts of tokens that a model may answer with, and their log-probabilities.
    """
    yes = no = 0.0
    for text, logprob in answers:
        word = text.strip().casefold()
        yes += math.exp(logprob) if word == "yes" else 0.0
        no += math.exp(logprob) if word == "no" else 0.0
    return yes / (yes + no) if yes + no > 0 else None
