"""`evaluate`, the Python counterpart of `marcot eval`."""

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

    Numbers and files are the same as those of `marcot eval` with the same settings: each can resume what the other
    began.

    Args:
        engine: The model.
        questions: `"mgsm:en"`, `"mgsm:zh"` or a file, optionally followed by a range such as `:1-64`; or your own
            questions with their answers: `Question(text, reference)` or `{"question": text, "answer": reference}`.
        strategies: One strategy, such as `MCTS(rollouts=8)`; several; a mapping from labels to strategies; or a string
            as on the command line.
        out: Folder for results and report; questions with results there are not answered again. By default nothing is
            written.
        name: Name of your own questions in the results.
        system: System message; by default the chat template's own.
        instruction: Text appended to each question; None for nothing. By default, the data sets that come with marcot
            get a request to reason and to box the answer, and your own questions get nothing.
        concurrency: Number of questions searched at the same time.
        baseline: Label of the strategy that the others are compared with; by default greedy, or else the first.
        full: Keep texts and trees in `out` as well.
        progress: Show progress on stderr.
        date: Date that a chat template shows as today; by default that of the results in `out`, or else today.

    Raises:
        InputError: An argument is invalid, a question has no answer, or `out` has results of other settings.
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
            raise InputError(f"strategies: {strategy!r:.80} is not a strategy; give one such as MCTS(rollouts=8)")
    if not strategies:
        raise InputError("strategies: give at least one, such as MCTS(rollouts=8)")
    return [StrategySpec(label, strategy) for label, strategy in strategies.items()]
