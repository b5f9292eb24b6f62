"""`marcot compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...text.printable import printable
from ..options import common as options
from ..options.contest import ContestOptions
from ..options.groups import grouped
from ..options.model import ModelOptions
from ..options.template import TemplateOptions
from ..signals import INTERRUPTED
from ..streams import say

if TYPE_CHECKING:
    from ...evaluation import Comparison, ComparisonFile, Prompt


@grouped
def compare(
    *,
    contest: ContestOptions,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--input",
            help="A .jsonl file of prompts (question; optionally answer, situation and why), or a .tsv or .txt file. "
            "By default, 16 prompts of marcot's own: logic, letter counting, geometry, arithmetic step by step and "
            "with distracting detail, contradictory statements.",
        ),
    ] = None,
    questions: options.QuestionsOption = None,
    instruction: options.DataInstructionOption = "auto",
    template: TemplateOptions,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A web page (.html, with a page for every search in a folder beside it), .md or .json. Repeat the "
            "option to write several. By default, .md on stdout.",
        ),
    ] = None,
    loading: ModelOptions,
) -> None:
    """Compare models side by side on a few prompts, each answered greedily and by search.

    The models are loaded one after the other. The page shows which answers are right, how confident each model is, what
    each answer cost, and every chain of reasoning.

    For example:

      marcot compare --model qwen2.5-coder-0.5b,smollm2-135m --out report.html

      marcot compare --model ./marco-o1,./llama-3.2 --strategy greedy,mcts:rollouts=16 --out report.html
    """
    from ...evaluation import INSTRUCTIONS, ComparisonFile
    from ...results.provenance import run_date
    from .compare_run import CompareRun

    pages = [ComparisonFile(path) for path in out or []]
    run = CompareRun(
        prompts=_prompts(prompts, questions),
        models=contest.names,
        specs=contest.specs,
        numbers=loading.numbers,
        system=template.system,
        instruction=options.parse_instruction(instruction, "" if prompts else INSTRUCTIONS["en"]),
        day=run_date(template.day),
    )

    try:
        comparison = run.run(loading.load)
    except KeyboardInterrupt:
        say("interrupted: nothing was written")
        raise typer.Exit(INTERRUPTED) from None
    _write(comparison, pages)
    if comparison.interrupted:
        say("interrupted: the report has the answers so far")
        raise typer.Exit(INTERRUPTED)


def _prompts(path: Path | None, questions: str | None) -> list[Prompt]:
    from ...evaluation import COMPARE_PROMPTS, Prompt, QuestionRange
    from ...results.question_file import read_questions

    found = read_questions(path or COMPARE_PROMPTS)
    wanted = QuestionRange.parse(questions or "1-")
    wanted.check(len(found))
    return [
        Prompt(
            situation=str(each.fields.get("situation", "prompts")),
            question=each.text,
            reference=each.reference,
            why=str(each.fields.get("why", "")),
        )
        for each in found
        if each.index + 1 in wanted
    ]


def _write(comparison: Comparison, pages: list[ComparisonFile]) -> None:
    """Write the pages and print a summary; print everything if there is no page, or if one could not be written.

    Raises:
        OutputError: A page could not be written; the others are.
    """
    from ...errors import OutputError
    from ...evaluation import comparison_sections
    from ..tables import print_tables

    failures = []
    for page in pages:
        try:
            page.write(comparison)
        except OutputError as error:
            failures.append(error)
    if failures:
        print_tables(comparison_sections(comparison))
        for failure in failures[:-1]:
            say(f"error: {failure}")
        raise failures[-1]
    if pages:
        for contestant in comparison.contestants:
            total = comparison.total(contestant)
            print(printable(f"{contestant.model}, {contestant.strategy}: {total.right} of {total.rated} right"))
    else:
        print_tables(comparison_sections(comparison))
