"""A run of `marcot eval`: every model and strategy on the same questions."""

from __future__ import annotations

import gc
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engine import Engine
from ..errors import InputError
from ..evaluation import Series, StrategySpec, Trial, read_series
from ..evaluation.data_set import DataSet
from ..json_form import JsonObject, failure_object, search_object
from ..outcome import Outcome
from ..question_file import Question
from ..results_file import ResultsFile
from ..search import Question as Asked
from .eval_view import EvalView


@dataclass(frozen=True, slots=True)
class Cell:
    """A strategy with a model.

    Attributes:
        model: As the user named it.
        spec: The strategy.
        settings: All that an answer depends on.
        path: Where its results are kept, or None.
    """

    model: str
    spec: StrategySpec
    settings: dict[str, Any]
    path: Path | None


@dataclass(slots=True)
class EvalRun:
    """What `marcot eval` was asked to measure.

    Attributes:
        data: The questions.
        models: Models as the user named them; they are loaded one after the other.
        specs: The strategies.
        numbers: Number format, compute mode and weights, as the user named them.
        system: System message, or None for the chat template's own.
        instruction: What follows each question.
        concurrency: Questions that are searched at a time.
        out: Folder of the result files, or None to keep nothing.
        full: Keep texts and trees.
        finished: Questions finished by this run.
        exit_code: That of the first question that failed, or 0.
    """

    data: DataSet
    models: Sequence[str]
    specs: Sequence[StrategySpec]
    numbers: dict[str, str]
    system: str | None
    instruction: str
    concurrency: int
    out: Path | None
    full: bool
    finished: int = 0
    exit_code: int = 0
    _unkept: dict[tuple[str, str], Series] = field(default_factory=dict)

    def cells(self) -> list[Cell]:
        """All models with all strategies.

        Raises:
            InputError: Two of them would write to the same file.
        """
        cells = [self._cell(model, spec) for model in self.models for spec in self.specs]
        for names, change in (
            ([Path(model).name for model in self.models], "the names of two models"),
            ([_slug(spec.label) for spec in self.specs], "the labels of two strategies (label=... changes one)"),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise InputError(f"{change} are both {name!r} in file names and tables")
        return cells

    def run(self, load: Callable[[str], Engine]) -> list[Series]:
        """Answer what is not answered yet, and return all results on these questions.

        Args:
            load: Loads a model by name; called only for models that have something to answer.
        """
        cells = self.cells()
        wanted = [Question(question.index, self.data.identity(question)) for question in self.data.questions]
        with ExitStack() as stack:
            if self.out is not None:
                _make_folder(self.out)
            files = [stack.enter_context(file) if (file := _file(cell)) else None for cell in cells]
            pairs = list(zip(self.data.questions, wanted, strict=True))
            todo = [[question for question, key in pairs if not (file and file.has(key))] for file in files]
            there = len(cells) * len(wanted) - sum(map(len, todo))
            if there:
                _say(f"{there} of {len(cells) * len(wanted)} answers are in {self.out} already")
            with EvalView(sum(map(len, todo))) as view:
                for model in self.models:
                    engine: Engine | None = None
                    for cell, file, questions in zip(cells, files, todo, strict=True):
                        if cell.model == model and questions:
                            engine = engine or load(model)
                            self._answer(engine, cell, file, questions, view)
                    # Before the next one is loaded: two may be more than the memory holds.
                    del engine
                    gc.collect()
        return [series.only(key.text for key in wanted) for series in self._series(cells)]

    # --- inside ------------------------------------------------------------------------------------------------

    def _cell(self, model: str, spec: StrategySpec) -> Cell:
        basis = {"data": self.data.name, "instruction": self.instruction, "model": model, **self.numbers}
        settings = {**basis, "system": self.system, **spec.strategy.settings()}
        name = "--".join(_slug(part) for part in (self.data.name, Path(model).name, spec.label))
        return Cell(model, spec, settings, self.out / f"{name}.jsonl" if self.out else None)

    def _answer(
        self, engine: Engine, cell: Cell, file: ResultsFile | None, questions: Sequence[Question], view: EvalView
    ) -> None:
        view.begin(f"{Path(cell.model).name}, {cell.spec.label}", len(questions), cell.spec.strategy)
        ending = f"\n\n{self.instruction}" if self.instruction else ""
        asked = (Asked(question.text + ending, question.reference) for question in questions)
        last = time.monotonic()
        for event in engine.stream(asked, cell.spec.strategy, system=self.system, concurrency=self.concurrency):
            correct = False
            if isinstance(event, Outcome):
                now = time.monotonic()
                entry = self._entry(cell, questions[event.index], event, now - last)
                last = now
                if file is not None:
                    file.append(entry)
                else:
                    self._keep(cell, entry)
                self.finished += 1
                correct = entry.get("correct", False)
            view.show(event, correct)

    def _entry(self, cell: Cell, question: Question, outcome: Outcome, seconds: float) -> JsonObject:
        identity = self.data.identity(question)
        head = {"label": cell.spec.label}
        if outcome.result is None:
            assert outcome.error is not None
            self.exit_code = self.exit_code or outcome.error.exit_code
            _say(f"error: {cell.spec.label}, question {question.index + 1}: {outcome.error}")
            return head | failure_object(Question(question.index, identity), outcome.error, cell.settings)
        assert question.reference is not None
        entry = head | Trial.of(question.index, identity, question.reference, outcome.result, seconds).to_object()
        if self.full:
            entry["result"] = search_object(question, outcome.result, {})
            del entry["result"]["settings"]
        return entry | {"settings": cell.settings}

    def _keep(self, cell: Cell, entry: JsonObject) -> None:
        key = cell.model, cell.spec.label
        series = self._unkept.get(key) or Series(cell.spec.label, cell.settings)
        if "error" in entry:
            self._unkept[key] = Series(series.label, series.settings, series.trials, series.failed + 1)
        else:
            trial = Trial.from_object(entry)
            self._unkept[key] = Series(
                series.label, series.settings, {**series.trials, trial.question: trial}, series.failed
            )

    def _series(self, cells: Sequence[Cell]) -> Iterator[Series]:
        for cell in cells:
            if cell.path is not None:
                yield from read_series([cell.path])
            elif (cell.model, cell.spec.label) in self._unkept:
                yield self._unkept[cell.model, cell.spec.label]


def _file(cell: Cell) -> ResultsFile | None:
    return ResultsFile(cell.path, cell.settings) if cell.path else None


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made a folder: {error.strerror}") from error


def _slug(text: str) -> str:
    """`text` as a part of a file name."""
    return re.sub(r"[^\w.=-]+", "_", text).strip("_")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
