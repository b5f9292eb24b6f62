"""An evaluation run: every model with every strategy on the same questions."""

from __future__ import annotations

import gc
import re
import time
from collections import defaultdict
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
    """One model with one strategy.

    Attributes:
        model: The model, as the user named it.
        spec: The strategy.
        settings: Everything that an answer depends on. Until the model is loaded, only the requested settings.
        path: Path of the results file; None if results are not kept.
        file: The open results file; None if results are not kept.
        todo: Questions that have no result yet.
    """

    model: str
    spec: StrategySpec
    settings: Mapping[str, Any]
    path: Path | None
    file: ResultsFile | None
    todo: Sequence[InputQuestion]

    def of_day(self, engine: Engine, day: date) -> Cell:
        """This cell with the complete settings, those of the loaded model and the date included.

        Raises:
            InputError: The results file holds results of other settings.
        """
        settings = {**self.settings, **find_provenance(engine, day)}
        if self.file is not None:
            self.file.check(settings)
        return replace(self, settings=settings)

    @property
    def stage(self) -> EvalStage:
        """The stage that a view shows for this cell."""
        return EvalStage(f"{Path(self.model).name}, {self.spec.label}", len(self.todo), self.spec.strategy)


class Failure(NamedTuple):
    """A question that ended in an error.

    Attributes:
        label: Label of the strategy.
        position: Position of the question in its data set, from 0.
        error: The error.
    """

    label: str
    position: int
    error: MarcotError

    def __str__(self) -> str:
        return f"{self.label}, question {self.position + 1}: {self.error}"


class EvalRun:
    """A run of an evaluation. It is a context manager that holds the results files open and locked.

    Attributes:
        cells: Every model with every strategy.
        wanted: Total number of answers.
        finished: Number of questions that this run has answered or failed to answer.
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
            system: System message; None for the chat template's default.
            instruction: Text appended to each question.
            concurrency: Number of questions searched at the same time.
            out: Folder of the results files; None to keep no results.
            full: Whether to keep texts and trees too.
            day: Date that chat templates show as today; None for the date of existing results, or else today.

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
        self._failed: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        self._stack = ExitStack()
        self.cells: list[Cell] = []
        self.finished = 0
        self.wanted = len(models) * len(specs) * len(data.questions)

    @property
    def recorded(self) -> int:
        """Number of answers that the results files already hold."""
        return self.wanted - sum(len(cell.todo) for cell in self.cells)

    @property
    def stages(self) -> list[EvalStage]:
        """The stages that still have questions to answer, in order."""
        return [cell.stage for cell in self.cells if cell.todo]

    def answer(self, load: Callable[[str], Engine], view: EvalView | None) -> Iterator[Failure]:
        """Answer the remaining questions, and store each answer as soon as it is finished.

        Args:
            load: Loads a model by name; called only for models with questions left.
            view: Shows the progress; None for no view.

        Yields:
            Each question that ends in an error.
        """
        for model in self._models:
            engine: Engine | None = None
            for position, cell in enumerate(self.cells):
                if cell.model == model and cell.todo:
                    engine = engine or load(model)
                    day = run_date(self._day, cell.file)
                    self.cells[position] = cell.of_day(engine, day)
                    yield from self._answer(engine, self.cells[position], day, view)
            # Free this model before the next one is loaded: two may not fit into memory.
            del engine
            gc.collect()

    def series(self) -> list[Series]:
        """All results for these questions, including those of earlier runs."""
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
        """Open the results files.

        Raises:
            InputError: A file cannot be opened, or holds results of other settings or of another checkpoint.
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
        if not todo and "checkpoint" not in settings:  # a loaded engine has reported its checkpoint
            check_unchanged(model, file)
        return Cell(model, spec, settings, path, file, todo)

    def _asked(self, question: InputQuestion) -> InputQuestion:
        """`question` as results files name it: by its identity, with its reference answer."""
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
            self._failed[key][entry["question"]] = entry["index"]
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
    """`text` in a form that is safe in a file name."""
    return re.sub(r"[^\w.=-]+", "_", text).strip("_")
