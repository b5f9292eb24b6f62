"""What searches would have answered with less: their accuracy at every cost, read off one run at the largest."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from ..search import Rollout, TreeNode
from ..search.answers import resolve_answer_rule
from .interval import Interval, wilson
from .trial import Trial, ended

STEPS_PER_HALVING = 4
HALVINGS = 5


class Standing(NamedTuple):
    """Where a search stands at a budget.

    Attributes:
        right: Whether the answer that its rule gives by then is right; without a rollout there is none.
        any_right: Whether any rollout that ended by then has the right answer.
        spent: Tokens drawn by then: the budget, or all that the search ever drew.
    """

    right: bool
    any_right: bool
    spent: int


class Anytime:
    """A trial at all budgets: its answer rule applied to the rollouts counted by then, and to nothing after them."""

    def __init__(self, trial: Trial, rule: str) -> None:
        """Work out all standings.

        Args:
            trial: The whole search.
            rule: Name of its answer rule.
        """
        self._tokens = trial.tokens
        self._budgets = sorted({rollout.spent for rollout in trial.rollouts})
        self._right, self._any = [False], [False]
        for budget in self._budgets:
            rollouts, tree = trial.after(budget)
            self._right.append(trial.agrees(choose(rule, rollouts, tree)))
            self._any.append(any(trial.agrees(rollout.answer) for rollout in ended(rollouts)))

    def at(self, budget: int) -> Standing:
        """Where it stood when it had drawn `budget` tokens."""
        step = bisect_right(self._budgets, budget)
        return Standing(self._right[step], self._any[step], min(budget, self._tokens))


class Point(NamedTuple):
    """A strategy at one cost.

    Attributes:
        budget: Tokens that questions may cost on average.
        limit: Tokens that none of them may exceed, so that they cost that: the budget itself for searches that never
            stop before.
        spent: Tokens that they cost, on average.
        questions: How many there were.
        right: How many were answered rightly.
        any_right: How many had a right rollout.
    """

    budget: int
    limit: int
    spent: float
    questions: int
    right: int
    any_right: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.right / self.questions

    @property
    def interval(self) -> Interval:
        """95 % interval of `accuracy`."""
        return wilson(self.right, self.questions)


def choose(rule: str, rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> str:
    """The answer that an answer rule takes from `rollouts`; empty if there are none."""
    return resolve_answer_rule(rule)(rollouts, tree).answer if rollouts else ""


def limit_for(costs: Sequence[int], budget: int) -> int:
    """The largest limit for each question that keeps their mean cost within `budget`; at most the largest of `costs`.

    A search that stops on easy questions leaves tokens for hard ones; the limit says how many.

    Args:
        costs: Tokens that the questions cost without a limit.
        budget: Tokens.
    """
    total = budget * len(costs)
    return bisect_right(range(max(costs) + 1), total, key=lambda limit: sum(min(cost, limit) for cost in costs)) - 1


def point(runs: Sequence[Anytime], budget: int, limit: int) -> Point:
    """All questions of a strategy where none costs more than `limit`, which is `budget` on average."""
    at = [run.at(limit) for run in runs]
    spent = sum(standing.spent for standing in at) / len(at)
    return Point(budget, limit, spent, len(at), sum(each.right for each in at), sum(each.any_right for each in at))


def budgets_up_to(largest: int) -> list[int]:
    """Budgets at equal distances on a logarithmic axis, from a 32nd of `largest`."""
    steps = range(STEPS_PER_HALVING * HALVINGS, -1, -1)
    return sorted({max(1, round(largest * 2 ** (-step / STEPS_PER_HALVING))) for step in steps})
