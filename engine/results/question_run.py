"""A run over many questions: it skips finished questions and writes each new result to disk at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import date as Date
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, TypedDict, Unpack

from ..errors import InputError
from ..outcome import Outcome
from ..search import Progress, Question, Strategy, solutions
from ..search.question import QuestionLike, one_or_many
from ..search.rollout.instruction import AUTO
from ..usage import Usage
from .json_form import JsonObject, failure_object, search_object
from .outcome_tally import OutcomeTally
from .output_file import is_same_file
from .pace import Pace
from .provenance import Provenance, find_provenance, run_date
from .question_file import InputQuestion, read_questions
from .results_file import ResultsFile
from .run_statistics import RunStatistics, check_statistics_file


class EventStream(Protocol):
    """An iterator of the events of running searches; closing it cancels unfinished searches."""

    def __iter__(self) -> Iterator[Progress | Outcome]: ...

    def close(self) -> None: ...  # noqa: D102  (see above)


class QuestionSearcher(Provenance, Protocol):
    """An `Engine`, or a `ReplicaPool`."""

    @property
    def usage(self) -> Usage:
        """Counts of all work so far."""

    @property
    def kv_pages(self) -> tuple[int, int]:
        """Pages of the KV cache: in use, and in total."""

    def stream(
        self,
        questions: Sequence[Question],
        strategy: Strategy,
        *,
        system: str | None,
        instruction: str | None,
        concurrency: int,
        date: Date | None,
    ) -> EventStream:
        """Search the questions and yield their progress and outcomes."""


class RunEvent(NamedTuple):
    """An event of a run: progress or the outcome of one question.

    Attributes:
        question: The question.
        event: Progress of its search, or its outcome.
        entry: For an outcome, the line that has been written to the results file; None for progress.
    """

    question: InputQuestion
    event: Progress | Outcome
    entry: JsonObject | None


class QuestionRun:
    """A run over questions, and the file with its results.

    Attributes:
        todo: The questions that had no result when the run began.
        tally: Counts of how the questions ended, so far.
        file: The results file, or None.
        settings: What the results depend on; complete once `events` has begun.
    """

    def __init__(
        self,
        questions: Sequence[InputQuestion],
        strategy: Strategy,
        settings: Mapping[str, Any],
        out: Path | None = None,
        stats_out: Path | None = None,
    ) -> None:
        """Open the results file and find the questions that are left.

        Args:
            questions: All questions, including those that already have a result in `out`.
            strategy: How to search.
            settings: The user's options that results depend on.
            out: The file that results are appended to; None for none.
            stats_out: The file that statistics are appended to, see `RunStatistics`; None for none.

        Raises:
            InputError: `out` cannot be resumed (see `ResultsFile`), or `stats_out` is `out` or a file of another kind.
        """
        if stats_out is not None:
            if is_same_file(stats_out, out):
                raise InputError(f"{stats_out}: results go there; give --stats-out another file")
            check_statistics_file(stats_out)
        self._strategy = strategy
        self._stats_out = stats_out
        self.settings = dict(settings)
        self.file = None if out is None else ResultsFile(out, settings)
        self.todo = [each for each in questions if self.file is None or not self.file.has(each)]
        self.tally = OutcomeTally(skipped=len(questions) - len(self.todo))

    def events(
        self,
        engine: QuestionSearcher,
        *,
        system: str | None,
        instruction: str | None,
        concurrency: int,
        day: Date | None,
        different: int = 0,
    ) -> Generator[RunEvent]:
        """Search the questions that are left; each outcome is in the file before it is yielded.

        Args:
            engine: The model.
            system: System message, as in `Engine.stream`.
            instruction: The text added to each question, as in `Engine.stream`.
            concurrency: Questions searched at a time.
            day: The date that chat templates show as today's; None for the date in the results file, else today.
            different: How many different solutions to include in a result.

        Raises:
            InputError: The results file was made with another checkpoint or on another date.
            OutputError: A file cannot be written; its earlier content is unchanged.
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
            if self._stats_out is not None:
                statistics = stack.enter_context(closing(RunStatistics(self._stats_out, pace, engine)))
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


class RunOptions(TypedDict, total=False):
    """Options of `run_questions`.

    Attributes:
        out: A results file to append to. Questions that have a result in it are skipped.
        system: System message, as for `Engine.stream`.
        instruction: The text added to each question, as for `Engine.stream`.
        concurrency: Questions that are searched at a time, in each replica; 8 by default.
        date: The date that a chat template shows as today's; by default the date in `out`, else today.
        stats_out: A file to append statistics to, see `RunStatistics`.
        show: Called with every event.
    """

    out: Path | str
    system: str | None
    instruction: str
    concurrency: int
    date: Date | None
    stats_out: Path | str
    show: Callable[[RunEvent], None]


def run_questions(
    searcher: QuestionSearcher,
    questions: Path | Iterable[QuestionLike],
    strategy: Strategy,
    **options: Unpack[RunOptions],
) -> OutcomeTally:
    """Search questions as `marcot search --input` does: resumable, with every result written to disk at once.

    Args:
        searcher: The engine or the replicas that search.
        questions: As for `Engine.stream`, where objects may also have an `"id"`; or the path of a file, see
            `read_questions`.
        strategy: Such as `MCTS(rollouts=16)`.
        options: See `RunOptions`.

    Returns:
        Counts of how the questions ended. A question that fails is counted and does not stop the others.

    Raises:
        InputError: An argument is invalid, or `out` was made with other settings.
        OutputError: A file cannot be written; its earlier content is unchanged.
    """
    if not isinstance(strategy, Strategy):
        raise InputError(f"strategy={strategy!r:.100}: must derive from Strategy, because results record its settings")
    if isinstance(questions, str) and os.path.isfile(questions):
        raise InputError(f"questions={questions!r:.100}: is a file; to search the questions in it, pass Path(...)")
    asked = read_questions(questions) if isinstance(questions, Path) else number_questions(questions)
    own = {name: value for name, value in searcher.settings.items() if name != "checkpoint"}
    system, instruction = options.get("system"), options.get("instruction", AUTO)
    out, stats_out = (None if path is None else Path(path) for path in (options.get("out"), options.get("stats_out")))
    show = options.get("show")
    settings = {**own, "system": system, "instruction": instruction, **strategy.settings()}
    with QuestionRun(asked, strategy, settings, out, stats_out) as run:
        events = run.events(
            searcher,
            system=system,
            instruction=instruction,
            concurrency=options.get("concurrency", 8),
            day=options.get("date"),
        )
        with closing(events):
            for event in events:
                if show is not None:
                    show(event)
        return run.tally


def number_questions(questions: object) -> list[InputQuestion]:
    """Number the user's questions, one or many: texts, `Question`s, or objects with `question`, `answer` and `id`.

    Raises:
        InputError: They cannot be iterated over, one is none of these, or two have the same id.
    """
    numbered: list[InputQuestion] = []
    seen: dict[str | int, int] = {}
    for index, each in enumerate(one_or_many(questions)):
        text, reference = Question.of(each)
        fields = dict(each) if isinstance(each, Mapping) else {}
        fields.pop("question", None)
        own = fields.pop("id", None)
        if own is not None:
            if isinstance(own, bool) or not isinstance(own, str | int) or own == "":
                raise InputError(f"question {index + 1}: its id {own!r:.100} must be a text or an integer")
            if seen.setdefault(own, index) != index:
                raise InputError(f"questions {seen[own] + 1} and {index + 1} have the same id {own!r:.100}")
        if reference is not None:
            fields["answer"] = reference
        numbered.append(InputQuestion(index, text, fields, own))
    return numbered
