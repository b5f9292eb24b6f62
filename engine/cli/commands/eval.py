"""`marcot eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options import common as options
from ..options.contest import ContestOptions
from ..options.eval_data import EvalDataOptions
from ..options.groups import grouped
from ..options.model import ModelOptions
from ..options.template import TemplateOptions
from ..signals import INTERRUPTED
from ..streams import say

if TYPE_CHECKING:
    from ...evaluation import EvalRun, Failure, Report, Series


@grouped
def eval(
    *,
    results: Annotated[
        list[Path] | None, typer.Argument(help="With --report: result files, or folders with result files.")
    ] = None,
    data: EvalDataOptions,
    contest: ContestOptions,
    instruction: options.DataInstructionOption = "auto",
    template: TemplateOptions,
    concurrency: Annotated[int, typer.Option(help="Questions searched at a time.")] = 8,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for results and report; answers that it already has are not repeated."
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Also keep texts and trees, which are large (under 'result').")
    ] = False,
    baseline: Annotated[
        str | None, typer.Option(help="Label of the strategy to compare with; by default greedy, or the first.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Report on existing results, without running a model.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    loading: ModelOptions,
) -> None:
    r"""Measure strategies and models on questions with known answers.

    Prints accuracy with 95 % intervals, pass@k, tokens and time, a paired comparison, and the accuracy at smaller
    budgets. With --out, every answer is saved as soon as it is found, the same command resumes after an interruption,
    and the folder gets report.md, report.json, curve.csv and curve.png.

    For example:

      marcot eval --model qwen2.5-coder-0.5b --input mgsm:en --questions 1-64 --strategy greedy,mcts --out runs/en

      marcot eval --model qwen2.5-coder-0.5b --questions 1-64 \
        --strategy "mcts:rollouts=8,mcts:action=mini-step-32,label=mini-32" \
        --max-tokens 2048 --set max_rollout_tokens=320 --out runs/steps

      marcot eval --only-wrong runs/en/mgsm_en--qwen2.5-coder-0.5b--greedy.jsonl --model qwen2.5-coder-0.5b \
        --strategy "mcts,mcts:reflection=on" --out runs/reflection

      marcot eval --report runs/en --baseline mcts --out runs/en
    """
    from ...errors import InputError
    from ...evaluation import EvalRun, Report, check_baseline, check_report_folder

    if out is not None:
        check_report_folder(out)
    if report:
        _deliver(Report.of(_read(results, data.questions), baseline, contest.budget_tokens), out, json)
        return
    if results:
        raise InputError(f"{results[0]}: add --report to read result files, or give --input and --model to measure")
    specs = contest.specs
    check_baseline(baseline, [spec.label for spec in specs])
    questions = data.read()
    run = EvalRun(
        data=questions,
        models=contest.names,
        specs=specs,
        numbers=loading.numbers,
        system=template.system,
        instruction=options.parse_instruction(instruction, questions.instruction),
        concurrency=concurrency,
        out=out,
        full=full,
        day=template.day,
    )
    failures = _answer(run, loading, out)
    found = run.series()
    if any(each.trials for each in found):
        _deliver(Report.of(found, baseline, contest.budget_tokens), out, json)
    raise typer.Exit(failures[0].error.exit_code if failures else 0)


def _read(results: list[Path] | None, questions: str | None) -> list[Series]:
    """The recorded answers to `questions`, or to all of them.

    Raises:
        InputError: There are none, or a file is invalid.
    """
    from ...errors import InputError
    from ...evaluation import QuestionRange, read_series

    if not results:
        raise InputError("--report needs result files, or folders with result files")
    series = read_series(results)
    if questions is None:
        return series
    wanted = QuestionRange.parse(questions)
    return [each.numbered(wanted) for each in series]


def _answer(run: EvalRun, loading: ModelOptions, out: Path | None) -> list[Failure]:
    """Answer the questions of `run` while showing progress, and return the failures.

    Raises:
        Exit: After Ctrl-C.
    """
    from ...evaluation import EvalView

    failures = []
    try:
        with run:
            if run.recorded:
                say(f"{run.recorded} of {run.wanted} answers are already in {out}")
            with EvalView(run.stages) as view:
                for failure in run.answer(loading.load, view):
                    with view.paused():
                        say(f"error: {failure}")
                    failures.append(failure)
    except KeyboardInterrupt:
        resume = f"; run the same command again to resume from {out}" if out else ""
        say(f"interrupted: finished {run.finished} questions{resume}")
        raise typer.Exit(INTERRUPTED) from None
    return failures


def _deliver(report: Report, out: Path | None, json: bool) -> None:
    """Print a report, and write it into the folder `out`."""
    from ...evaluation import write_report
    from ...results.json_form import to_line
    from ..tables import print_tables

    if out is not None:
        no_picture = write_report(report, out)
        if no_picture is not None:
            say(f"no curve.png: {no_picture}")
    if json:
        print(to_line(report.to_object()))
    else:
        print_tables(report.sections())
