"""What an evaluation found."""

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
    """Strategies on the same questions; a mapping from the label of each to its `Series`.

    Where there is one strategy only, its numbers are here as well.

    Attributes:
        series: The strategies by their labels.
        report: All tables, the paired comparisons and the curve.
        failures: Questions of this run that ended in an error; the same call tries them again.
    """

    series: Mapping[str, Series]
    report: Report
    failures: Sequence[Failure] = ()

    @property
    def only(self) -> Series:
        """The only strategy.

        Raises:
            InputError: There are several.
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
        """95 % interval of `accuracy` (Wilson's)."""
        return self.only.interval

    @property
    def pass_at_1(self) -> float:
        """Accuracy of a rollout of the only strategy taken at random."""
        return self.only.pass_at_1

    @property
    def pass_at_k(self) -> float:
        """Share of questions to which a rollout of the only strategy has the right answer."""
        return self.only.pass_at_k

    @property
    def trials(self) -> list[Trial]:
        """How the only strategy answered each question, in the order of the questions."""
        return sorted(self.only.trials.values(), key=lambda trial: trial.index)

    def table(self, width: int | None = None) -> str:
        """The summary as aligned text: a row for each strategy.

        Args:
            width: Columns that there are; a table that is wider is written row by row. By default, as many as it takes.
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
