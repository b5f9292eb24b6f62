"""The result of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import InputError
from .eval_run import Failure
from .interval import Interval
from .report.report import Report, summary
from .report.sections import to_text
from .series import Series
from .trial import Trial


@dataclass(frozen=True, eq=False)
class Evaluation(Mapping[str, Series]):
    """The results of several strategies on the same questions: a mapping from each strategy's label to its `Series`.

    With a single strategy, its numbers are also available as attributes of this object.

    Attributes:
        series: The results by strategy label.
        report: All tables, the paired comparisons and the curve.
        failures: Questions of this run that ended in an error; repeating the call tries them again.
    """

    series: Mapping[str, Series]
    report: Report
    failures: Sequence[Failure] = ()

    @property
    def only(self) -> Series:
        """The results of the only strategy.

        Raises:
            InputError: There are several strategies.
        """
        if len(self) > 1:
            raise InputError(
                f"there are several strategies ({', '.join(self)}): take one, such as [{next(iter(self))!r}]"
            )
        [series] = self.values()
        return series

    @property
    def accuracy(self) -> float:
        """Share of right answers of the only strategy."""
        return self.only.accuracy

    @property
    def interval(self) -> Interval:
        """95 % confidence interval of `accuracy` (Wilson score)."""
        return self.only.interval

    @property
    def pass_at_1(self) -> float:
        """Accuracy of a random rollout of the only strategy."""
        return self.only.pass_at_1

    @property
    def pass_at_k(self) -> float:
        """Share of questions for which at least one rollout of the only strategy has the right answer."""
        return self.only.pass_at_k

    @property
    def trials(self) -> list[Trial]:
        """The trials of the only strategy, in the order of the questions."""
        return sorted(self.only.trials.values(), key=lambda trial: trial.index)

    def table(self, width: int | None = None) -> str:
        """The summary as aligned text, with a row for each strategy.

        Args:
            width: Available columns; a wider table is written row by row. Unlimited by default.
        """
        return to_text([summary(self.values())], width).rstrip()

    def __getitem__(self, label: str) -> Series:
        return self.series[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self.series)

    def __len__(self) -> int:
        return len(self.series)

    def __repr__(self) -> str:
        [group] = self.report.groups
        found = (f"{each.label} {each.right} of {len(each.trials)} right" for each in self.values())
        return f"Evaluation({group.data}, {group.model}: {', '.join(found)})"

    def __str__(self) -> str:
        return to_text(self.report.sections()).rstrip()

    def _repr_markdown_(self) -> str:
        return self.report.markdown()
