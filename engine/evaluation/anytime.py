"""Accuracy of searches at smaller token budgets, computed from one run with the largest budget."""

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
    """The state of a search at a budget.

    Attributes:
        right: Whether the answer that the search would have given is right; False before the first rollout.
        any_right: Whether any rollout finished within the budget has the right answer.
        spent: Tokens generated: the budget, or the total of the search if that is smaller.
    """

    right: bool
    any_right: bool
    spent: int


class Anytime:
    """A trial at all budgets: at each one, the answer rule sees only the rollouts counted within it."""

    def __init__(self, trial: Trial, rule: str) -> None:
        """Compute the standing at every budget.

        Args:
            trial: The complete search.
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
        """The standing when the search had generated `budget` tokens."""
        step = bisect_right(self._budgets, budget)
        return Standing(self._right[step], self._any[step], min(budget, self._tokens))


class Point(NamedTuple):
    """A strategy at one budget: a point of the cost-accuracy curve.

    Attributes:
        budget: Mean number of tokens that a question may cost.
        limit: Maximum number of tokens for any one question that keeps the mean within `budget`. For searches that
            never stop early it is the budget itself.
        spent: Mean number of tokens that a question did cost.
        questions: Number of questions.
        right: Number of questions answered rightly.
        any_right: Number of questions with at least one right rollout.
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
        """95 % confidence interval of `accuracy`."""
        return wilson(self.right, self.questions)


def choose(rule: str, rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> str:
    """The answer that the answer rule `rule` chooses from `rollouts`; empty if there are none."""
    return resolve_answer_rule(rule)(rollouts, tree).answer if rollouts else ""


def limit_for(costs: Sequence[int], budget: int) -> int:
    """The largest limit per question that keeps the mean cost within `budget`; at most the largest of `costs`.

    A search that stops early on easy questions leaves tokens for hard ones, so the limit can exceed the budget.

    Args:
        costs: Tokens that each question costs without a limit.
        budget: Mean number of tokens per question.
    """
    total = budget * len(costs)
    return bisect_right(range(max(costs) + 1), total, key=lambda limit: sum(min(cost, limit) for cost in costs)) - 1


def point(runs: Sequence[Anytime], budget: int, limit: int) -> Point:
    """The point of a strategy at `budget`, with every question cut off at `limit` tokens (see `limit_for`)."""
    at = [run.at(limit) for run in runs]
    spent = sum(standing.spent for standing in at) / len(at)
    return Point(budget, limit, spent, len(at), sum(each.right for each in at), sum(each.any_right for each in at))


def budgets_up_to(largest: int) -> list[int]:
    """Budgets from a 32nd of `largest` up to `largest`, equally spaced on a logarithmic axis."""
    steps = range(STEPS_PER_HALVING * HALVINGS, -1, -1)
    return sorted({max(1, round(largest * 2 ** (-step / STEPS_PER_HALVING))) for step in steps})
