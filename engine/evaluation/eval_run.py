"""A run of an evaluation: every model and strategy on the same questions."""

from __future__ import annotations

import gc
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ...kernels import MarcotError
from ..errors import InputError
from ..outcome import Outcome
from ..results.json_form import JsonObject, failure_object, search_object
from ..results.provenance import check_unchanged, find_provenance, run_date
from ..results.question_file import InputQuestion
from ..results.results_file import ResultsFile
from ..search import Question, reference_answer
from ..search.rollout.instruction import with_instruction
from ..search.strategy_spec import StrategySpec
from .data_set import DataSet
from .eval_view import EvalStage, EvalView
from .series import Series, read_series
from .trial import Trial

if TYPE_CHECKING:
    from ..engine import Engine


@dataclass(frozen=True, slots=True)
class Cell:
    """A strategy with a model.

    Attributes:
        model: As the user named it.
        spec: The strategy.
        settings: All that an answer depends on, once the model is loaded; before that, what was asked for.
        path: Where its results are kept, or None.
        file: That file, open; None if nothing is kept.
        todo: Questions that have no result yet.
    """

    model: str
    spec: StrategySpec
    settings: Mapping[str, Any]
    path: Path | None
    file: ResultsFile | None
    todo: Sequence[InputQuestion]

    def of_day(self, engine: Engine, day: date) -> Cell:
        """The same with all settings.

        Raises:
            InputError: The results that are kept already were made with others.
        """
        settings = {**self.settings, **find_provenance(engine, day)}
        if self.file is not None:
            self.file.check(settings)
        return replace(self, settings=settings)

    @property
    def stage(self) -> EvalStage:
        """What a view says of it."""
        return EvalStage(f"{Path(self.model).name}, {self.spec.label}", len(self.todo), self.spec.strategy)


class Failure(NamedTuple):
    """A question that ended in an error.

    Attributes:
        label: Of the strategy.
        position: Position of the question in its data set.
        error: The error.
    """

    label: str
    position: int
    error: MarcotError

    def __str__(self) -> str:
        return f"{self.label}, question {self.position + 1}: {self.error}"


class EvalRun:
    """What is to be measured. Used as a context: its result files are open, and nobody else's, as long as it lasts.

    Attributes:
        cells: All models with all strategies.
        wanted: Answers in all.
        finished: Questions that this run has answered, or tried to.
    """

    def __init__(
        self,
        data: DataSet,
        models: Sequence[str],
        specs: Sequence[StrategySpec],
        numbers: Mapping[str, str],
        *,
        system: str | None,
        instruction: str,
        concurrency: int,
        out: Path | None,
        full: bool,
        day: date | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            data: The questions.
            models: Models as the user named them; they are loaded one after the other.
            specs: The strategies.
            numbers: Number format, compute mode and weights, as the user named them.
            system: System message, or None for the chat template's own.
            instruction: What follows each question.
            concurrency: Questions that are searched at a time.
            out: Folder of the result files, or None to keep nothing.
            full: Keep texts and trees.
            day: What chat templates show as today's date; None for that of the results that are there, or else today's.

        Raises:
            InputError: Two models or strategies would write to the same file.
        """
        _check_names([Path(model).name for model in models], "the names of two models")
        _check_names([_slug(spec.label) for spec in specs], "the labels of two strategies (label=... changes one)")
        self._data = data
        self._models = models
        self._specs = specs
        self._numbers = numbers
        self._system = system
        self._instruction = instruction
        self._concurrency = concurrency
        self._out = out
        self._full = full
        self._day = day
        self._trials: dict[tuple[str, str], dict[str, Trial]] = defaultdict(dict)
        self._failed: Counter[tuple[str, str]] = Counter()
        self._stack = ExitStack()
        self.cells: list[Cell] = []
        self.finished = 0
        self.wanted = len(models) * len(specs) * len(data.questions)

    @property
    def recorded(self) -> int:
        """Answers that are in the result files already."""
        return self.wanted - sum(len(cell.todo) for cell in self.cells)

    @property
    def stages(self) -> list[EvalStage]:
        """What is left to do, in its order."""
        return [cell.stage for cell in self.cells if cell.todo]

    def answer(self, load: Callable[[str], Engine], view: EvalView | None) -> Iterator[Failure]:
        """Answer what is not answered yet; each answer is kept as soon as it is there.

        Args:
            load: Loads a model by name; called only for models that have something to answer.
            view: Is shown all that happens, if there is one.

        Yields:
            What fails.
        """
        for model in self._models:
            engine: Engine | None = None
            for position, cell in enumerate(self.cells):
                if cell.model == model and cell.todo:
                    engine = engine or load(model)
                    day = run_date(self._day, cell.file)
                    self.cells[position] = cell.of_day(engine, day)
                    yield from self._answer(engine, self.cells[position], day, view)
            # Before the next one is loaded: two may be more than the memory holds.
            del engine
            gc.collect()

    def series(self) -> list[Series]:
        """All results on these questions, those of earlier runs included."""
        questions = [self._data.identity(question) for question in self._data.questions]
        found: list[Series] = []
        for cell in self.cells:
            if cell.path is not None:
                found += read_series([cell.path], [str(cell.settings["answer_rule"])])
            else:
                key = cell.model, cell.spec.label
                found.append(Series(cell.spec.label, cell.settings, self._trials[key], self._failed[key]))
        return [series.only(questions) for series in found]

    def __enter__(self) -> Self:
        """Open the result files.

        Raises:
            InputError: One cannot be opened, or holds results of other settings or of another checkpoint.
        """
        if self._out is not None:
            _make_folder(self._out)
        with ExitStack() as stack:
            self.cells = [self._cell(model, spec, stack) for model in self._models for spec in self._specs]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    # --- inside ------------------------------------------------------------------------------------------------

    def _cell(self, model: str, spec: StrategySpec, stack: ExitStack) -> Cell:
        basis = {"data": self._data.name, "instruction": self._instruction, "model": model, **self._numbers}
        settings = {**basis, "system": self._system, **spec.strategy.settings()}
        if self._out is None:
            return Cell(model, spec, settings, None, None, self._data.questions)
        name = "--".join(_slug(part) for part in (self._data.name, Path(model).name, spec.label))
        path = self._out / f"{name}.jsonl"
        file = stack.enter_context(ResultsFile(path, settings, "marcot eval"))
        todo = [each for each in self._data.questions if not file.has(self._asked(each))]
        if not todo and "checkpoint" not in settings:  # an engine that is loaded knows its own
            check_unchanged(model, file)
        return Cell(model, spec, settings, path, file, todo)

    def _asked(self, question: InputQuestion) -> InputQuestion:
        """`question` as result files have it."""
        assert question.reference is not None
        return InputQuestion(
            question.index, self._data.identity(question), {"answer": reference_answer(question.reference)}
        )

    def _answer(self, engine: Engine, cell: Cell, day: date, view: EvalView | None) -> Iterator[Failure]:
        if view is not None:
            view.begin()
        asked = [Question(with_instruction(each.text, self._instruction), each.reference) for each in cell.todo]
        last = time.monotonic()
        for event in engine.stream(
            asked,
            cell.spec.strategy,
            system=self._system,
            instruction=None,
            concurrency=self._concurrency,
            date=day,
        ):
            correct = False
            if isinstance(event, Outcome):
                now = time.monotonic()
                entry = self._entry(cell, cell.todo[event.index], event, now - last)
                last = now
                if cell.file is not None:
                    cell.file.append(entry)
                else:
                    self._keep(cell, entry)
                self.finished += 1
                correct = entry.get("correct", False)
            if view is not None:
                view.show(event, correct)
            if isinstance(event, Outcome) and event.error is not None:
                yield Failure(cell.spec.label, cell.todo[event.index].index, event.error)

    def _entry(self, cell: Cell, question: InputQuestion, outcome: Outcome, seconds: float) -> JsonObject:
        identity = self._data.identity(question)
        head = {"label": cell.spec.label}
        if outcome.result is None:
            assert outcome.error is not None
            return head | failure_object(InputQuestion(question.index, identity), outcome.error, cell.settings)
        assert question.reference is not None
        entry = head | Trial.of(question.index, identity, question.reference, outcome.result, seconds).to_object()
        if self._full:
            entry["result"] = search_object(question, outcome.result, {})
            del entry["result"]["settings"]
        return entry | {"settings": cell.settings}

    def _keep(self, cell: Cell, entry: JsonObject) -> None:
        key = cell.model, cell.spec.label
        if "error" in entry:
            self._failed[key] += 1
        else:
            self._trials[key][entry["question"]] = Trial.from_object(entry)


def _check_names(names: Sequence[str], change: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{change} are both {name!r} in file names and tables")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made a folder: {error.strerror}") from error


def _slug(text: str) -> str:
    """`text` as a part of a file name."""
    return re.sub(r"[^\w.=-]+", "_", text).strip("_")
