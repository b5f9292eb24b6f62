"""How the rollouts of a search settle on one answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from .answer import normalise_answer
from .result import Rollout, TreeNode

AnswerRule = Callable[[Sequence[Rollout], Sequence[TreeNode]], Rollout]
"""Picks the rollout whose answer stands, from all rollouts and the tree that they grew."""


def best_value(rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> Rollout:
    """The rollout of the highest reward."""
    return _best(_eligible(rollouts))


def most_visits(rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> Rollout:
    """The rollout at the end of the walk that always takes the most visited child, and among equals the best one."""
    children: dict[int, list[TreeNode]] = defaultdict(list)
    for node in tree:
        if node.parent is not None:
            children[node.parent].append(node)
    at = 0
    while children[at]:
        at = max(children[at], key=lambda node: (node.visits, node.value or 0.0)).id
    return next(rollout for rollout in rollouts if rollout.leaf == at)


def majority(rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> Rollout:
    """The best rollout with the most frequent answer; among equally frequent ones, that of the higher reward."""
    return _vote(rollouts, lambda rollout: 1.0)


def confidence_vote(rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> Rollout:
    """The best rollout with the answer whose rollouts have the highest sum of rewards."""
    return _vote(rollouts, lambda rollout: rollout.value)


ANSWER_RULES: Mapping[str, AnswerRule] = MappingProxyType(
    {
        "confidence-vote": confidence_vote,
        "majority": majority,
        "best-value": best_value,
        "most-visits": most_visits,
    }
)
"""Answer rules by the names that options call them."""


def agreement(chosen: Rollout, rollouts: Sequence[Rollout]) -> float:
    """Share of the rollouts' total reward that agrees with the answer of `chosen`, from 0 to 1."""
    total = sum(rollout.value for rollout in rollouts)
    key = normalise_answer(chosen.answer)
    agreeing = sum(rollout.value for rollout in rollouts if normalise_answer(rollout.answer) == key)
    return agreeing / total if total > 0 else 0.0


def _vote(rollouts: Sequence[Rollout], weight: Callable[[Rollout], float]) -> Rollout:
    """The best rollout of the answer with the most weight."""
    camps: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in _eligible(rollouts):
        camps[normalise_answer(rollout.answer)].append(rollout)
    winners = max(camps.values(), key=lambda camp: (sum(map(weight, camp)), _best(camp).value))
    return _best(winners)


def _eligible(rollouts: Sequence[Rollout]) -> Sequence[Rollout]:
    """The rollouts that came to an answer by themselves, or all if none did: a chain that was cut short guesses."""
    return [rollout for rollout in rollouts if rollout.complete and rollout.answer] or rollouts


def _best(rollouts: Sequence[Rollout]) -> Rollout:
    """The rollout of the highest reward, the first of equals."""
    return max(rollouts, key=lambda rollout: rollout.value)
