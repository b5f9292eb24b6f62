"""`evaluate`: what `marcot eval` does, in Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from datetime import date as Date
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..search import Strategy
from ..search.question import QuestionLike
from ..search.rollout.instruction import AUTO
from ..search.strategy_spec import StrategySpec, parse_strategies
from .data_set import DataSet
from .eval_run import EvalRun
from .eval_view import EvalView
from .evaluation import Evaluation
from .report.folder import check_report_folder, write_report
from .report.report import Report, check_baseline

if TYPE_CHECKING:
    from ..engine import Engine

Questions = str | Path | QuestionLike | Iterable[QuestionLike]
Strategies = str | Strategy | Iterable[Strategy] | Mapping[str, Strategy]


def evaluate(
    engine: Engine,
    questions: Questions,
    strategies: Strategies = "greedy,mcts",
    *,
    out: str | os.PathLike[str] | None = None,
    name: str = "questions",
    system: str | None = None,
    instruction: str | None = AUTO,
    concurrency: int = 8,
    baseline: str | None = None,
    full: bool = False,
    progress: bool = False,
    date: Date | None = None,
) -> Evaluation:
    """Measure how often strategies are right (docs/evaluation.md).

    The numbers are those of `marcot eval` with the same settings, and so are the files: either goes on where the other
    was stopped.

    Args:
        engine: The model.
        questions: `"mgsm:en"`, `"mgsm:zh"` or a .jsonl or .tsv file, each with `:1-64` at its end if wanted; or
            questions of one's own with their answers: `Question(text, reference)` or
            `{"question": text, "answer": reference}`.
        strategies: One, such as `MCTS(rollouts=8)`, several, several by the labels that tables call them, or a text as
            on the command line.
        out: Folder for results and report; what it has already is not done again. By default nothing is written.
        name: What results call questions of one's own.
        system: System message; the chat template's own by default.
        instruction: What follows each question; None for nothing. By default a request to reason and to box the answer
            follows those that come with marcot, and nothing those of one's own.
        concurrency: Questions that are searched at a time.
        baseline: Label of the strategy that the others are compared with; by default greedy, or the first.
        full: Keep texts and trees in `out` as well.
        progress: Show on stderr how far it is.
        date: What a chat template shows as today's date; by default that of the results in `out`, or else today's.

    Raises:
        InputError: An argument makes no sense, a question has no answer, or `out` has results of other settings.
        MarcotError: Every question failed; this is the first error.
    """
    data = _data_set(questions, name)
    specs = _specs(strategies)
    check_baseline(baseline, [spec.label for spec in specs])
    settings = dict(engine.settings)
    model = settings.pop("model", engine.config.architecture)
    folder = None if out is None else Path(out)
    if folder is not None:
        check_report_folder(folder)
    run = EvalRun(
        data,
        [model],
        specs,
        settings,
        system=system,
        instruction=data.instruction if instruction == AUTO else instruction or "",
        concurrency=concurrency,
        out=folder,
        full=full,
        day=date,
    )
    with run, EvalView(run.stages) if progress else nullcontext() as view:
        failures = list(run.answer(lambda model: engine, view))
    found = run.series()
    if failures and not any(each.trials for each in found):
        raise failures[0].error
    report = Report.of(found, baseline)
    if folder is not None:
        write_report(report, folder)
    return Evaluation({each.label: each for each in found}, report, failures)


def _data_set(questions: Questions, name: str) -> DataSet:
    if isinstance(questions, str | Path):
        return DataSet.named(str(questions))
    return DataSet.of(questions, name)


def _specs(strategies: Strategies) -> list[StrategySpec]:
    if isinstance(strategies, str):
        return parse_strategies(strategies)
    if isinstance(strategies, Strategy):
        strategies = [strategies]
    if not isinstance(strategies, Iterable):
        raise InputError(f"strategies={strategies!r:.80}: give one such as MCTS(rollouts=8), or several")
    if not isinstance(strategies, Mapping):
        given = list(strategies)
        strategies = {getattr(each, "name", str(each)): each for each in given}
        if len(strategies) < len(given):
            raise InputError("strategies: two have the same name; give them labels: {'label': strategy, ...}")
    for label, strategy in strategies.items():
        if not isinstance(label, str) or not isinstance(strategy, Strategy):
            raise InputError(f"strategies: {strategy!r:.80} is none; give one such as MCTS(rollouts=8)")
    if not strategies:
        raise InputError("strategies: give at least one, such as MCTS(rollouts=8)")
    return [StrategySpec(label, strategy) for label, strategy in strategies.items()]
