"""Rules that choose one answer from the rollouts of a search."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from ...errors import InputError
from ..user_import import import_attribute, instantiate, is_import_path
from .key import normalise_answer

if TYPE_CHECKING:
    from ..result import Rollout, TreeNode


class AnswerRule(Protocol):
    """Chooses the rollout whose answer wins."""

    def __call__(self, rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> Rollout:
        """Choose one of `rollouts` (at least one); `tree` has the nodes of the search tree."""
        ...


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote: the answer with the most votes wins, and among equals the one with the best rollout.

    The result is the best rollout with that answer.

    Attributes:
        weight: How many votes a rollout has, from 0 to 1.
    """

    weight: Callable[[Rollout], float]

    def __call__(self, rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> Rollout:
        """See `AnswerRule`."""
        groups = _by_answer(_eligible(rollouts))
        winners = max(groups.values(), key=lambda group: (sum(map(self.weight, group)), _best(group).value))
        return _best(winners)


def best_rollout(rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> Rollout:
    """The rollout with the highest value."""
    return _best(_eligible(rollouts))


def most_visits(rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> Rollout:
    """The rollout at the end of the path that always takes the most visited child, and of equals the best one."""
    return _follow(rollouts, tree, lambda node: (node.visits, node.value or 0.0))


def best_value(rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> Rollout:
    """The rollout at the end of the path that always takes the child with the highest mean value."""
    return _follow(rollouts, tree, lambda node: (node.value or 0.0, node.visits))


ANSWER_RULES: Mapping[str, AnswerRule] = MappingProxyType(
    {
        "confidence-vote": Vote(lambda rollout: rollout.value),
        "majority": Vote(lambda rollout: 1.0),
        "best-rollout": best_rollout,
        "best-value": best_value,
        "most-visits": most_visits,
    }
)
"""Answer rules by their names in options."""


def resolve_answer_rule(choice: str | AnswerRule) -> AnswerRule:
    """The rule that `choice` names, or `choice` itself; `module:name` is your own.

    Raises:
        InputError: There is no such rule, or `choice` is neither a name nor a rule.
    """
    if not isinstance(choice, str):
        if isinstance(choice, type) or not callable(choice):
            raise InputError(f"answer_rule={choice!r}: must be a name, or a function of the rollouts and the tree")
        return choice
    if choice in ANSWER_RULES:
        return ANSWER_RULES[choice]
    if is_import_path(choice):
        found = instantiate(import_attribute(choice, "answer_rule"), choice, "answer_rule")
        if not callable(found):
            raise InputError(
                f"answer_rule {choice!r}: is {found!r:.60}; it must be a function of the rollouts and the tree"
            )
        return found
    raise InputError(
        f"answer_rule {choice!r}: must be one of {', '.join(ANSWER_RULES)}, or your own rule as module:name"
    )


def agreement(chosen: Rollout, rollouts: Sequence[Rollout]) -> float:
    """Sum of the values of rollouts with the answer of `chosen`, divided by that of all rollouts; from 0 to 1.

    It is 0 if `chosen` has no answer, so that questions without an answer never count as confident ones.
    """
    if not chosen.answer:
        return 0.0
    total = sum(rollout.value for rollout in rollouts)
    key = normalise_answer(chosen.answer)
    agreeing = sum(rollout.value for rollout in rollouts if normalise_answer(rollout.answer) == key)
    return agreeing / total if total > 0 else 0.0


def votes(answer: str, rollouts: Sequence[Rollout]) -> tuple[int, int]:
    """How many of the rollouts gave `answer`, and how many gave any answer."""
    answered = [normalise_answer(rollout.answer) for rollout in rollouts if rollout.answer]
    return answered.count(normalise_answer(answer)), len(answered)


def _follow(
    rollouts: Sequence[Rollout], tree: Sequence[TreeNode], worth: Callable[[TreeNode], tuple[float, float]]
) -> Rollout:
    """The best rollout at the end of the path that always takes the visited child with the highest `worth`."""
    children: dict[int, list[TreeNode]] = defaultdict(list)
    for node in tree:
        if node.parent is not None and node.visits:
            children[node.parent].append(node)
    at = 0
    while children[at]:
        at = max(children[at], key=worth).id
    return _best([rollout for rollout in rollouts if rollout.leaf == at])


def _by_answer(rollouts: Sequence[Rollout]) -> dict[str, list[Rollout]]:
    """Rollouts by their answers."""
    groups: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        groups[normalise_answer(rollout.answer)].append(rollout)
    return groups


def _eligible(rollouts: Sequence[Rollout]) -> Sequence[Rollout]:
    """The complete rollouts with an answer, or all if there are none: the answer of an incomplete chain is a guess."""
    return [rollout for rollout in rollouts if rollout.complete and rollout.answer] or rollouts


def _best(rollouts: Sequence[Rollout]) -> Rollout:
    """The rollout with the highest value, the first of equals."""
    return max(rollouts, key=lambda rollout: rollout.value)
