"""The report of an evaluation: tables for people, the curve as CSV, and everything as JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import InputError
from ...search.answers import ANSWER_RULES
from ...text.brief import brief_record
from ..anytime import Point, budgets_up_to
from ..interval import Interval
from ..pairs import Pairs
from ..series import Series
from .sections import Heading, Section, Table, to_markdown

SUMMARY_COLUMNS = (
    *("strategy", "questions", "right", "accuracy [95 %]"),
    *("pass@1", "pass@k", "k", "tokens", "s", "tokens/s"),
)
CURVE_COLUMNS = (
    *("data", "model", "strategy", "budget", "limit", "spent", "questions", "right", "accuracy", "low", "high"),
    *("any_right", "difference", "difference_low", "difference_high"),
)


@dataclass(frozen=True)
class Group:
    """The strategies that were run on the same data set with the same model.

    Attributes:
        data: Name of the data set.
        model: Name of the model.
        series: The results of each strategy.
        baseline: The strategy that the others are compared with.
    """

    data: str
    model: str
    series: Sequence[Series]
    baseline: Series

    @property
    def others(self) -> list[Series]:
        """All strategies except the baseline."""
        return [each for each in self.series if each is not self.baseline]


@dataclass(frozen=True)
class Report:
    """The report of an evaluation.

    Attributes:
        groups: The groups, in the order of the series given.
        budgets: The budgets at which the cost-accuracy curve has points, in tokens per question.
    """

    groups: Sequence[Group]
    budgets: Sequence[int]

    def __repr__(self) -> str:
        return brief_record(self)

    @classmethod
    def of(cls, series: Iterable[Series], baseline: str | None = None, budget: int | None = None) -> Report:
        """Make a report, grouping `series` by data set and model.

        Args:
            series: The series; those without trials are left out.
            baseline: Label of the strategy that the others are compared with; by default greedy, or else the first
                of each group.
            budget: Right end of the curve, in mean tokens per question; by default the cost of the most expensive
                strategy.

        Raises:
            InputError: No series has a trial, or no strategy has the label `baseline`.
        """
        members: dict[tuple[str, str], list[Series]] = {}
        for each in series:
            if each.trials:
                members.setdefault((each.data, each.model), []).append(each)
        if not members:
            raise InputError("there are no results to report: give files of marcot eval --out, or their folder")
        groups = [_group(data, model, each, baseline) for (data, model), each in members.items()]
        check_baseline(baseline, [each.label for group in groups for each in group.series])
        costs = [each.tokens for group in groups for each in group.series]
        return cls(groups, budgets_up_to(budget or math.ceil(max(costs))))

    def sections(self) -> list[Section]:
        """All tables, with the headings and paragraphs between them."""
        return [section for group in self.groups for section in self._sections(group)]

    def markdown(self) -> str:
        """All tables in markdown."""
        return to_markdown(self.sections())

    def to_object(self) -> dict[str, Any]:
        """All numbers as a JSON object."""
        return {"groups": [self._object(group) for group in self.groups], "curve": self._curve_rows()}

    def curve_csv(self) -> str:
        """The cost-accuracy curve as CSV, with a row for each strategy and budget."""
        text = io.StringIO()
        writer = csv.DictWriter(text, CURVE_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._curve_rows())
        return text.getvalue()

    def curve(self, series: Series) -> list[Point]:
        """The points of `series` at all budgets."""
        return [series.point(budget) for budget in self.budgets]

    # --- inside ------------------------------------------------------------------------------------------------

    def _sections(self, group: Group) -> list[Section]:
        parts: list[Section] = [Heading(f"{group.data}, {group.model}"), summary(group.series)]
        failed = {each.label: each.failed for each in group.series if each.failed}
        if failed:
            parts.append("Failed: " + ", ".join(f"{label} {count}" for label, count in failed.items()) + ".")
        if group.others:
            parts.append(f"Compared with {group.baseline.label}, on the same questions:")
            head = ("strategy", "questions", "only this right", f"only {group.baseline.label} right")
            rows = [_paired(each, each.pairs(group.baseline)) for each in group.others]
            parts.append(Table((*head, "difference [95 %]", "p (McNemar)"), rows))
        parts.append("Accuracy at these mean costs of a question, in tokens:")
        shown = self.budgets[::4][-4:] if len(self.budgets) > 4 else self.budgets
        rows = [[each.label, *(_share(each.point(budget).accuracy) for budget in shown)] for each in group.series]
        parts.append(Table(("strategy", *map(str, shown)), rows))
        searches = [each for each in group.series if each.rollouts > 1]
        if searches:
            parts.append("The same rollouts under other answer rules:")
            rows = [[each.label, *map(_share, _by_rule(each).values())] for each in searches]
            parts.append(Table(("strategy", *ANSWER_RULES), rows))
        return parts

    def _object(self, group: Group) -> dict[str, Any]:
        entries = []
        for each in group.series:
            pairs = each.pairs(group.baseline)
            entries.append(
                {
                    "strategy": each.label,
                    "settings": dict(each.settings),
                    "questions": len(each.trials),
                    "failed": each.failed,
                    "right": each.right,
                    "accuracy": each.accuracy,
                    "interval": list(each.interval),
                    "pass_at_1": each.pass_at_1,
                    "pass_at_k": each.pass_at_k,
                    "rollouts": each.rollouts,
                    "tokens": each.tokens,
                    "seconds": each.seconds,
                    "answer_rules": _by_rule(each),
                    "paired": {
                        **pairs._asdict(),
                        "difference": pairs.difference,
                        "interval": list(pairs.interval),
                        "p_value": pairs.p_value,
                    }
                    if sum(pairs)
                    else None,
                }
            )
        return {"data": group.data, "model": group.model, "baseline": group.baseline.label, "strategies": entries}

    def _curve_rows(self) -> list[dict[str, Any]]:
        rows = []
        for group in self.groups:
            for each in group.series:
                for point in self.curve(each):
                    pairs = each.pairs(group.baseline, point.budget)
                    gap = (pairs.difference, *pairs.interval) if sum(pairs) else (None, None, None)
                    counts = (point.budget, point.limit, point.spent, point.questions, point.right)
                    shares = (point.accuracy, *point.interval, point.any_right)
                    values = (group.data, group.model, each.label, *counts, *shares, *gap)
                    rows.append(dict(zip(CURVE_COLUMNS, map(_rounded, values), strict=True)))
        return rows


def summary(series: Iterable[Series]) -> Table:
    """A table with a row for each strategy: accuracy and cost."""
    return Table(SUMMARY_COLUMNS, [_summary(each) for each in series])


def check_baseline(baseline: str | None, labels: Iterable[str]) -> None:
    """Check that `baseline` is the label of a strategy or None.

    Raises:
        InputError: `baseline` is not among `labels`.
    """
    known = dict.fromkeys(labels)
    if baseline is not None and baseline not in known:
        raise InputError(f"no strategy is called {baseline!r}: there are {', '.join(known)}")


def _group(data: str, model: str, series: Sequence[Series], baseline: str | None) -> Group:
    """Make a group, numbering strategies that share a label."""
    labels = [each.label for each in series]
    named = []
    for position, each in enumerate(series):
        before = labels[:position].count(each.label)
        label = f"{each.label} #{before + 1}" if before else each.label
        named.append(Series(label, each.settings, each.trials, each.unanswered))
    chosen = next((each for each in named if each.label == baseline), None)
    greedy = next((each for each in named if each.settings.get("strategy") == "greedy"), named[0])
    return Group(data, model, named, chosen or greedy)


def _by_rule(series: Series) -> dict[str, float]:
    """Accuracy that each answer rule would reach with the same rollouts."""
    right = dict.fromkeys(ANSWER_RULES, 0)
    for trial in series.trials.values():
        rollouts, tree = trial.after(trial.tokens)
        for name, rule in ANSWER_RULES.items():
            right[name] += bool(rollouts) and trial.agrees(rule(rollouts, tree).answer)
    return {name: count / len(series.trials) for name, count in right.items()}


def _summary(series: Series) -> list[str]:
    speed = series.tokens / series.seconds if series.seconds else 0.0
    return [
        series.label,
        str(len(series.trials)),
        str(series.right),
        f"{_share(series.accuracy)} {_interval(series.interval)}",
        _share(series.pass_at_1),
        _share(series.pass_at_k),
        f"{series.rollouts:.3g}",
        f"{series.tokens:.0f}",
        f"{series.seconds:.1f}",
        f"{speed:.1f}",
    ]


def _paired(series: Series, pairs: Pairs) -> list[str]:
    if not sum(pairs):
        return [series.label, "0", "", "", "", ""]
    gap = f"{100 * pairs.difference:+.1f} [{100 * pairs.interval.low:+.1f}, {100 * pairs.interval.high:+.1f}]"
    return [series.label, str(sum(pairs)), str(pairs.only_second), str(pairs.only_first), gap, f"{pairs.p_value:.3f}"]


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _interval(interval: Interval) -> str:
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _rounded(value: object) -> object:
    return round(value, 6) if isinstance(value, float) else value
