"""Preference pairs: two traces of a question, one better than the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from ..search.answers import normalise_answer
from .filters.shared_prefix import shared_length
from .options import DatasetOptions
from .trace import ReasoningTrace


class Preference(NamedTuple):
    """A pair of traces, the better one in `chosen`.

    Attributes:
        chosen: The preferred trace.
        rejected: The other trace.
        chosen_by: `"reference"` if only `chosen` has the right answer, `"value"` if its reward decided.
    """

    chosen: ReasoningTrace
    rejected: ReasoningTrace
    chosen_by: str


def preferences(
    good: Sequence[ReasoningTrace], sound: Sequence[ReasoningTrace], options: DatasetOptions
) -> list[Preference]:
    """Form preference pairs from the traces of one question.

    Pairs with the longest common prefix come first, because they show most precisely where the traces differ. With a
    reference, a right trace is chosen over a wrong one. Without one, the answers must differ and the chosen trace's
    reward must be higher by at least `margin`. No trace is rejected twice; a trace is chosen again only in a later
    round over all pairs.

    Args:
        good: Traces that may be chosen.
        sound: Traces that may be rejected.
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
    """Every possible pair, preceded by its sort key: shared prefix and margin (both negated), positions."""
    for (one, chosen), (other, rejected) in product(enumerate(good), enumerate(sound)):
        chosen_by = _chosen_by(chosen, rejected, options.margin)
        shared = shared_length(chosen.text, rejected.text) if chosen_by else 0
        if chosen_by and shared >= options.min_shared and chosen.system == rejected.system:
            margin = (chosen.value or 0.0) - (rejected.value or 0.0)
            yield -shared, -margin, one, other, Preference(chosen, rejected, chosen_by)


def _chosen_by(chosen: ReasoningTrace, rejected: ReasoningTrace, margin: float) -> str | None:
    """What makes `chosen` better, `"reference"` or `"value"`; None if it is not better."""
    if chosen.correct is not None and rejected.correct is not None:
        return "reference" if chosen.correct and not rejected.correct else None
    if chosen.value is None or rejected.value is None:
        return None
    differ = normalise_answer(chosen.answer) != normalise_answer(rejected.answer)
    return "value" if differ and chosen.value - rejected.value >= margin else None
