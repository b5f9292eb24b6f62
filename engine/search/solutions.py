"""Picks several different answers to one question."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ..text.brief import brief_record
from .answers import normalise_answer
from .result import Rollout

_MAX_SIMILARITY = 0.6
"""Two texts count as different solutions if at most this share of their word triples is common to both."""

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|\w+")
"""A word, or a character of a script without spaces."""


@dataclass(frozen=True, slots=True)
class Solution:
    """An answer to the question, with the best chain that gives it.

    Attributes:
        answer: The answer as the best chain words it.
        text: The text of that chain.
        value: The value of that chain.
        confidence: Sum of the values of all chains with this answer, divided by that of all chains; from 0 to 1.
        rollouts: Number of chains with this answer.
    """

    answer: str
    text: str
    value: float
    confidence: float
    rollouts: int

    def __repr__(self) -> str:
        return brief_record(self)


def solutions(rollouts: Sequence[Rollout], count: int) -> list[Solution]:
    """The `count` best different solutions among `rollouts`, best first; fewer if there are fewer.

    Chains with the same answer are one solution. Solutions are ranked by confidence, then by value; if all answers
    differ, that is simply the order of their values. An answer that shares most of its word triples with a better one
    is a paraphrase and is left out. Chains that were cut short count only if all were.
    """
    finished = [rollout for rollout in rollouts if rollout.complete and rollout.answer] or list(rollouts)
    groups: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in finished:
        groups[normalise_answer(rollout.answer)].append(rollout)
    total = sum(rollout.value for rollout in finished)
    found = [_solution(group, total) for group in groups.values()]
    ranked = sorted(found, key=lambda each: (-each.confidence, -each.value))
    chosen: list[Solution] = []
    for solution in ranked:
        if len(chosen) == count:
            break
        if all(_similarity(solution.answer, other.answer) <= _MAX_SIMILARITY for other in chosen):
            chosen.append(solution)
    return chosen


def _solution(group: Sequence[Rollout], total: float) -> Solution:
    best = max(group, key=lambda rollout: rollout.value)
    share = sum(rollout.value for rollout in group) / total if total > 0 and best.answer else 0.0
    return Solution(best.answer, best.text, best.value, share, len(group))


def _similarity(text: str, other: str) -> float:
    """The share of word triples that two texts have in common; 0 for texts too short to have any."""
    ours, theirs = _triples(text), _triples(other)
    return len(ours & theirs) / len(ours | theirs) if ours and theirs else 0.0


def _triples(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    return {tuple(words[place : place + 3]) for place in range(len(words) - 2)}
