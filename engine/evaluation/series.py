"""All trials of one strategy with one model on a data set."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ...model.files.fields import MAX_COUNT, Fields
from ...model.files.strict_json import RefusedError, parse
from ..errors import InputError
from ..results.added_settings import distinguishing, select_provenance
from ..search.answers import ANSWER_RULES
from ..search.user_import import is_import_path
from .anytime import Anytime, Point, limit_for, point
from .interval import Interval, wilson
from .pairs import Pairs
from .trial import Trial


@dataclass(frozen=True)
class Series:
    """The results of one strategy, with the same settings on many questions.

    Attributes:
        label: Label of the strategy in tables.
        settings: Everything that an answer depends on: `data`, `model`, `strategy` with its options, and the rest.
        trials: Trials by the identity of their question.
        unanswered: Questions that ended in an error: their positions by their identities.
    """

    label: str
    settings: Mapping[str, Any]
    trials: Mapping[str, Trial] = field(default_factory=dict)
    unanswered: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Series({self.label!r}, {self.right} of {len(self.trials)} right, {self.failed} failed)"

    @property
    def failed(self) -> int:
        """Number of questions that ended in an error."""
        return len(self.unanswered)

    @property
    def data(self) -> str:
        """Name of the data set."""
        return str(self.settings["data"])

    @property
    def model(self) -> str:
        """Name of the model; for a path, its last component."""
        return Path(str(self.settings["model"])).name

    @property
    def right(self) -> int:
        """Number of questions answered rightly."""
        return sum(trial.correct for trial in self.trials.values())

    @property
    def accuracy(self) -> float:
        """Share of right answers; NaN, like the other means, if there are no trials."""
        return self.right / len(self.trials) if self.trials else math.nan

    @property
    def interval(self) -> Interval:
        """95 % confidence interval of `accuracy`."""
        return wilson(self.right, len(self.trials)) if self.trials else Interval(0.0, 1.0)

    @property
    def pass_at_1(self) -> float:
        """pass@1: the accuracy of a random rollout."""
        return self._mean(trial.right_rollouts / max(1, len(trial.ended)) for trial in self.trials.values())

    @property
    def pass_at_k(self) -> float:
        """pass@k: the share of questions with at least one right rollout, where k is the number of rollouts."""
        return self._mean(trial.right_rollouts > 0 for trial in self.trials.values())

    @property
    def rollouts(self) -> float:
        """Mean number of rollouts per question that came to an answer."""
        return self._mean(len(trial.ended) for trial in self.trials.values())

    @property
    def tokens(self) -> float:
        """Mean number of tokens generated per question."""
        return self._mean(trial.tokens for trial in self.trials.values())

    @property
    def seconds(self) -> float:
        """Mean wall time per question, while other questions were searched at the same time."""
        return self._mean(trial.seconds for trial in self.trials.values())

    @cached_property
    def anytime(self) -> Mapping[str, Anytime]:
        """Each trial at all budgets."""
        rule = self.settings["answer_rule"]
        return {question: Anytime(trial, rule) for question, trial in self.trials.items()}

    def limit(self, budget: int) -> int:
        """Maximum number of tokens for any one question that keeps the mean cost within `budget`."""
        return limit_for([trial.tokens for trial in self.trials.values()], budget)

    def point(self, budget: int) -> Point:
        """The point of the cost-accuracy curve where a question costs `budget` tokens on average."""
        return point(list(self.anytime.values()), budget, self.limit(budget))

    def pairs(self, other: Series, budget: int | None = None) -> Pairs:
        """Compare `other` (first) with this series (second) on the questions that both answered.

        Args:
            other: The series to compare with.
            budget: Mean number of tokens that a question may cost; by default no limit.
        """
        both = [question for question in self.trials if question in other.trials]
        if budget is None:
            return Pairs.of((other.trials[each].correct, self.trials[each].correct) for each in both)
        theirs, ours = other.limit(budget), self.limit(budget)
        return Pairs.of((other.anytime[each].at(theirs).right, self.anytime[each].at(ours).right) for each in both)

    def only(self, questions: Iterable[str]) -> Series:
        """This series reduced to the questions with these identities."""
        wanted = set(questions)
        return self._where(lambda question, position: question in wanted)

    def numbered(self, numbers: Container[int]) -> Series:
        """This series reduced to the questions whose numbers, counted from 1, are in `numbers`."""
        return self._where(lambda question, position: position + 1 in numbers)

    def _where(self, wanted: Callable[[str, int], bool]) -> Series:
        return Series(
            self.label,
            self.settings,
            {question: trial for question, trial in self.trials.items() if wanted(question, trial.index)},
            {question: position for question, position in self.unanswered.items() if wanted(question, position)},
        )

    def _mean(self, values: Iterable[float]) -> float:
        return sum(values) / len(self.trials) if self.trials else math.nan


def read_series(paths: Iterable[Path], rules: Container[str] | None = ()) -> list[Series]:
    """Read results files of `marcot eval`; lines with the same settings form one series.

    If two lines have the same question, the later one counts. A failure counts only if there is no result.

    Args:
        paths: Files, and folders of files.
        rules: User-defined answer rules, as `module:name`, that a series may use. Showing a series at smaller budgets
            runs its answer rule, and a file must not choose what code is run. None skips the check, if no series is
            shown at smaller budgets.

    Raises:
        InputError: A file cannot be read or holds something else; the message says where.
    """
    found: dict[str, tuple[str, dict[str, Any], dict[str, Trial], dict[str, int]]] = {}
    for path in paths:
        for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
            entries = []
            for number, line in enumerate(_lines(file), 1):
                try:
                    entries.append(_entry(line, rules))
                except InputError as error:
                    raise InputError(f"{file}, line {number}: {error}") from None
            # Lines of an earlier version lack settings that later lines of the same file have.
            named = {name: value for entry in entries for name, value in select_provenance(entry[1]).items()}
            for label, own, question, answer in entries:
                settings = named | own
                key = json.dumps(distinguishing(settings), sort_keys=True)
                _, _, trials, failed = found.setdefault(key, (label, settings, {}, {}))
                if isinstance(answer, Trial):
                    trials[question] = answer
                else:
                    failed[question] = answer
    return [
        Series(label, settings, trials, {each: failed[each] for each in failed if each not in trials})
        for label, settings, trials, failed in found.values()
    ]


def _lines(file: Path) -> list[bytes]:
    try:
        *lines, last = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    return [*lines, last] if _is_whole(last) else lines


def _is_whole(line: bytes) -> bool:
    """Whether a last line without a line feed is complete JSON, rather than cut off by a crash."""
    try:
        parse(line)
    except RefusedError:
        return True
    except ValueError:
        return False
    return True


def _entry(line: bytes, rules: Container[str] | None) -> tuple[str, dict[str, Any], str, Trial | int]:
    """The label, settings and question of a line, and its trial, or the question's position if it failed."""
    try:
        entry = parse(line)
    except ValueError as error:
        raise InputError(f"is not a result of marcot eval: {error}") from None
    try:
        label, settings, question = entry["label"], entry["settings"], entry["question"]
        names: tuple[object, ...] = (label, question, settings["data"], settings["model"], settings["answer_rule"])
    except (ValueError, KeyError, TypeError):
        names = (None,)
    if not all(isinstance(name, str) for name in names):
        raise InputError("is not a result of marcot eval")
    if rules is not None:
        _check_rule(settings["answer_rule"], rules)
    if "error" not in entry:
        return label, settings, question, Trial.from_object(entry)
    fields = Fields(entry, "is not a result of marcot eval", error=InputError)
    return label, settings, question, fields.integer("index", low=0, high=MAX_COUNT)


def _check_rule(rule: str, allowed: Container[str]) -> None:
    if rule in ANSWER_RULES or rule in allowed:
        return
    advice = "; the command that made the results reports on them too" if is_import_path(rule) else ""
    raise InputError(f"was made by the answer rule {rule!r:.100}, which is not one of marcot's{advice}")
