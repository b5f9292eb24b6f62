"""Detection of texts that repeat themselves."""

from __future__ import annotations

from collections.abc import Sequence

from .words import split_words

NGRAM = 8
"""Words in a run; shorter runs of four or five words recur in arithmetic without being loops."""

LOOP_TURNS = 3
LOOP_WORDS = 24
"""A text ends in a loop if its end repeats one run at least `LOOP_TURNS` times, over at least `LOOP_WORDS` words."""


def repeated_share(text: str, ngram: int = NGRAM) -> float:
    """The share of runs of `ngram` words that already occurred earlier in `text`, from 0 to 1."""
    words = split_words(text)
    runs = [tuple(words[start : start + ngram]) for start in range(len(words) - ngram + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def ends_in_loop(text: str) -> bool:
    """Whether `text` ends by repeating one run of words; the last repetition may be cut short."""
    words = split_words(text)
    return any(_period_of_end(words, period) for period in range(1, len(words) // LOOP_TURNS + 1))


def _period_of_end(words: Sequence[str], period: int) -> bool:
    needed = max(LOOP_TURNS * period, LOOP_WORDS)
    if needed > len(words):
        return False
    return all(words[-position] == words[-position - period] for position in range(1, needed - period + 1))
