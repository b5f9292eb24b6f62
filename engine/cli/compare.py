"""`marcot compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .streams import say

if TYPE_CHECKING:
    from ..evaluation import Comparison, Prompt

_INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

_PAGES = (".html", ".md", ".json")


def compare(
    *,
    models: options.ModelsOption = "",
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="A .jsonl file of prompts (question, and if wanted answer, situation and why), a .tsv or a .txt; by "
            "default 16 of marcot's own: logic, letter counting, geometry, arithmetic step by step and with "
            "distracting detail, contradictory statements."
        ),
    ] = None,
    questions: options.QuestionsOption = None,
    strategies: options.StrategiesOption = "greedy,mcts",
    budget_tokens: options.BudgetTokensOption = None,
    parameters: options.ParametersOption = "",
    instruction: options.DataInstructionOption = "auto",
    system: options.SystemOption = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="A page (.html), .md or .json; may be given again. By default .md on stdout."
        ),
    ] = None,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    compute: options.ComputeOption = "auto",
    weights: options.WeightsOption = "stored",
    threads: options.ThreadsOption = None,
    kv_tokens: options.KVTokensOption = None,
    kv_dtype: options.KVDtypeOption = "auto",
    deterministic: options.DeterministicOption = False,
    no_graphs: options.NoGraphsOption = False,
) -> None:
    """Put models side by side on a few prompts, each answered greedily and by search.

    The models are loaded one after the other. The page shows who is right, how sure each is, what it cost, and every
    chain of reasoning.

    For example:

      marcot compare --models qwen2.5-coder-0.5b,smollm2-135m --out report.html

      marcot compare --models ./marco-o1,./llama-3.2 --strategies greedy,mcts:rollouts=16 --out report.html
    """
    from ..errors import InputError
    from ..evaluation import INSTRUCTIONS, parse_parameters, parse_strategies
    from .compare_run import CompareRun
    from .loading import Loading

    pages = out or []
    for page in pages:
        if page.suffix.lower() not in _PAGES:
            raise InputError(f"--out {page}: must end in {', '.join(_PAGES)}")
        if not page.parent.is_dir():
            raise InputError(f"--out {page}: there is no folder {page.parent}")
    shared = parse_parameters(parameters) | ({} if budget_tokens is None else {"max_tokens": str(budget_tokens)})
    loading = Loading(device, dtype, compute, weights, threads, kv_tokens, kv_dtype, deterministic, not no_graphs)
    run = CompareRun(
        prompts=_prompts(prompts, questions),
        models=options.split_names(models, "--models"),
        specs=parse_strategies(strategies, shared),
        numbers=loading.numbers,
        system=system,
        instruction=options.parse_instruction(instruction, "" if prompts else INSTRUCTIONS["en"]),
    )

    try:
        comparison = run.run(loading.load)
    except KeyboardInterrupt:
        say("interrupted: nothing was written")
        raise typer.Exit(_INTERRUPTED) from None
    _write(comparison, pages)
    if comparison.interrupted:
        say("interrupted: what was answered by then is in the report")
        raise typer.Exit(_INTERRUPTED)


def _prompts(path: Path | None, questions: str | None) -> list[Prompt]:
    from ..evaluation import COMPARE_PROMPTS, Prompt, QuestionRange
    from ..question_file import read_questions

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


def _write(comparison: Comparison, pages: list[Path]) -> None:
    from ..errors import InputError
    from ..evaluation import comparison_page, comparison_sections, to_markdown
    from ..json_form import to_line
    from .tables import print_tables

    for page in pages:
        kind = page.suffix.lower()
        if kind == ".html":
            text = comparison_page(comparison)
        else:
            text = (
                to_markdown(comparison_sections(comparison))
                if kind == ".md"
                else to_line(comparison.to_object()) + "\n"
            )
        try:
            page.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise InputError(f"{page}: cannot be written: {error.strerror}") from error
    if pages:
        for contestant in comparison.contestants:
            total = comparison.total(contestant)
            print(f"{contestant.model}, {contestant.strategy}: {total.right} of {total.rated} right")
    else:
        print_tables(comparison_sections(comparison))
