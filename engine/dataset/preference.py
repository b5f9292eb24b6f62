"""Pairs of traces, one of them better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from ..search.answers import normalise_answer
from .filters.shared_prefix import shared_length
from .options import DatasetOptions
from .trace import ReasoningTrace


class Preference(NamedTuple):
    """`chosen` is to be preferred to `rejected`: by `"reference"` as it alone is right, or by `"value"`."""

    chosen: ReasoningTrace
    rejected: ReasoningTrace
    chosen_by: str


def preferences(
    good: Sequence[ReasoningTrace], sound: Sequence[ReasoningTrace], options: DatasetOptions
) -> list[Preference]:
    """Choose pairs of one question: those that part latest first, as they say most exactly what the difference is.

    With a reference, a right trace is chosen over a wrong one. Without, the answers differ and the reward of the chosen
    one is higher by `margin`. No trace is rejected twice, and none chosen twice before every other had its turn.

    Args:
        good: What may be chosen.
        sound: What may be rejected.
        options: `margin`, `min_shared` and `pairs_per_question`.
    """
    ranked = sorted(_candidates(good, sound, options), key=lambda candidate: candidate[:-1])
    pairs: list[Preference] = []
    used: dict[int, int] = {}
    rejected: set[int] = set()
    for turn in range(options.pairs_per_question):
        for _, _, one, other, pair in ranked:
            if len(pairs) == options.pairs_per_question:
                return pairs
            if used.get(one, 0) == turn and other not in rejected:
                used[one] = turn + 1
                rejected.add(other)
                pairs.append(pair)
    return pairs


def _candidates(
    good: Sequence[ReasoningTrace], sound: Sequence[ReasoningTrace], options: DatasetOptions
) -> Iterator[tuple[int, float, int, int, Preference]]:
    """Every possible pair after what it is ranked by: shared prefix, margin, places."""
    for (one, chosen), (other, rejected) in product(enumerate(good), enumerate(sound)):
        chosen_by = _chosen_by(chosen, rejected, options.margin)
        shared = shared_length(chosen.text, rejected.text) if chosen_by else 0
        if chosen_by and shared >= options.min_shared and chosen.system == rejected.system:
            margin = (chosen.value or 0.0) - (rejected.value or 0.0)
            yield -shared, -margin, one, other, Preference(chosen, rejected, chosen_by)


def _chosen_by(chosen: ReasoningTrace, rejected: ReasoningTrace, margin: float) -> str | None:
    """By what `chosen` is better; None if it is not."""
    if chosen.correct is not None and rejected.correct is not None:
        return "reference" if chosen.correct and not rejected.correct else None
    if chosen.value is None or rejected.value is None:
        return None
    differ = normalise_answer(chosen.answer) != normalise_answer(rejected.answer)
    return "value" if differ and chosen.value - rejected.value >= margin else None
