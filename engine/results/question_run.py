"""A run over many questions: it skips what is done, and puts each result on the disk as soon as there is one."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..errors import InputError
from ..outcome import Outcome
from ..search import Progress, Question, Strategy, solutions
from .json_form import JsonObject, failure_object, search_object
from .outcome_tally import OutcomeTally
from .pace import Pace
from .provenance import find_provenance, run_date
from .question_file import InputQuestion
from .results_file import ResultsFile
from .run_statistics import RunStatistics

if TYPE_CHECKING:
    from ..engine import Engine


class RunEvent(NamedTuple):
    """Something that happened to a question of a run.

    Attributes:
        question: Which.
        event: Progress of its search, or its outcome.
        entry: What the results file has of an outcome by now; None for progress.
    """

    question: InputQuestion
    event: Progress | Outcome
    entry: JsonObject | None


class QuestionRun:
    """Questions, how to search them, and the file that holds what is finished.

    Attributes:
        todo: The questions that have no result yet.
        tally: How those that were there ended, so far.
        file: The results file, or None.
        settings: What the results depend on; complete once `events` has begun.
    """

    def __init__(
        self,
        questions: Sequence[InputQuestion],
        strategy: Strategy,
        settings: Mapping[str, Any],
        out: Path | None = None,
    ) -> None:
        """Open the results file and see what is left to do.

        Args:
            questions: All of them, also those that `out` has already.
            strategy: How to search.
            settings: What was asked for, as far as results depend on it.
            out: The file that results are appended to; None for none.

        Raises:
            InputError: `out` cannot be gone on from, see `ResultsFile`.
        """
        self._strategy = strategy
        self.settings = dict(settings)
        self.file = None if out is None else ResultsFile(out, settings)
        self.todo = [each for each in questions if self.file is None or not self.file.has(each)]
        self.tally = OutcomeTally(skipped=len(questions) - len(self.todo))

    def events(
        self,
        engine: Engine,
        *,
        system: str | None,
        instruction: str | None,
        concurrency: int,
        day: date | None,
        different: int = 0,
        stats_out: Path | None = None,
    ) -> Generator[RunEvent]:
        """Search what is left to do; an outcome is on the disk before it is yielded.

        Args:
            engine: The model.
            system: System message, as in `Engine.stream`.
            instruction: What follows each question, as in `Engine.stream`.
            concurrency: Questions searched at a time.
            day: The date that chat templates show; None for that of the results file, or else today's.
            different: How many different solutions go into a result.
            stats_out: A file for statistics, see `RunStatistics`.

        Raises:
            InputError: The results file was made with another checkpoint or on another date.
            OutputError: A file cannot be written; what it had before it has still.
        """
        day = run_date(day, self.file)
        self.settings |= find_provenance(engine, day)
        if self.file is not None:
            self.file.check(self.settings)
        asked = [Question(each.text, each.reference) for each in self.todo]
        stream = engine.stream(
            asked, self._strategy, system=system, instruction=instruction, concurrency=concurrency, date=day
        )
        pace = Pace(len(self.todo))
        with ExitStack() as stack:
            events = stack.enter_context(closing(stream))
            statistics = None
            if stats_out is not None:
                statistics = stack.enter_context(closing(RunStatistics(stats_out, pace, engine)))
            for event in events:
                question, entry = self.todo[event.index], None
                pace.take(event)
                if isinstance(event, Outcome):
                    entry = self._entry(question, event, different)
                    if self.file is not None:
                        self.file.append(entry)
                    self.tally.count(question, event)
                if statistics is not None:
                    statistics.tick()
                yield RunEvent(question, event, entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.file is not None:
            self.file.__exit__(kind, error, traceback)

    def _entry(self, question: InputQuestion, outcome: Outcome, different: int) -> JsonObject:
        if outcome.result is None:
            assert outcome.error is not None
            return failure_object(question, outcome.error, self.settings)
        found = solutions(outcome.result.rollouts, different)
        return search_object(question, outcome.result, self.settings, found)


def numbered_questions(questions: Iterable[object]) -> list[InputQuestion]:
    """Number what a user passes: texts, `Question`s, or objects with `question` and perhaps `answer` and `id`.

    Raises:
        InputError: One is none of these, or two have the same id.
    """
    numbered: list[InputQuestion] = []
    seen: dict[str | int, int] = {}
    for index, each in enumerate(questions):
        text, reference = Question.of(each)
        fields = dict(each) if isinstance(each, Mapping) else {}
        fields.pop("question", None)
        own = fields.pop("id", None)
        if own is not None:
            if isinstance(own, bool) or not isinstance(own, str | int):
                raise InputError(f"question {index + 1}: its id {own!r:.100} must be a text or an integer")
            if seen.setdefault(own, index) != index:
                raise InputError(f"questions {seen[own] + 1} and {index + 1} have the same id {own!r:.100}")
        if reference is not None:
            fields["answer"] = reference
        numbered.append(InputQuestion(index, text, fields, own))
    return numbered
