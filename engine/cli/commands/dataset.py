"""`marcot dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...text.printable import printable
from ..options import common as options
from ..signals import INTERRUPTED
from ..streams import say

if TYPE_CHECKING:
    from ...dataset import Produced

_CONTENT = "What is made"
_HEURISTIC = "Heuristic filters, for every text"
_QUALITY = "Quality filters, for what is imitated or preferred"
_SPLITS = "Limits and splits"


def dataset(
    *,
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Files that marcot search --out or marcot eval --full wrote, and chain-of-thought samples "
            "(Marco-o1's, Open-O1's, or messages; JSON lines or a JSON array), mixed at will.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make. A run that was stopped goes on where it was.")],
    make: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="sft: traces to imitate. steps: values of single steps, for reward models. pairs: a better and a "
            "worse answer that start the same, for DPO.",
            rich_help_panel=_CONTENT,
        ),
    ] = "sft,steps,pairs",
    form: Annotated[
        str,
        typer.Option(
            help="as-is, or thought-output: <Thought>reasoning</Thought><Output>answer</Output>, as Marco-o1 writes.",
            rich_help_panel=_CONTENT,
        ),
    ] = "as-is",
    tokenizer: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="Whose tokens are counted: a model as for marcot search (only its tokenizer is used); auto: the one "
            "that was searched with, if it is on this machine; none.",
            rich_help_panel=_CONTENT,
        ),
    ] = "auto",
    license: Annotated[
        str | None,
        typer.Option(help="Licence to name in the card, such as apache-2.0.", rich_help_panel=_CONTENT),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Count lines that make no sense instead of stopping at the first."),
    ] = False,
    min_characters: Annotated[int, typer.Option(help="Shortest text.", rich_help_panel=_HEURISTIC)] = 20,
    max_characters: Annotated[int, typer.Option(help="Longest text.", rich_help_panel=_HEURISTIC)] = 20_000,
    max_repetition: Annotated[
        float,
        typer.Option(
            help="Largest share of runs of 8 words that are repeats. What ends in a loop goes whatever this is.",
            rich_help_panel=_HEURISTIC,
        ),
    ] = 0.2,
    max_foreign: Annotated[
        float,
        typer.Option(
            help="Largest share of words in another script than the question's (English in a Chinese answer); 1 for "
            "translations.",
            rich_help_panel=_HEURISTIC,
        ),
    ] = 0.1,
    min_value: Annotated[
        float | None, typer.Option(help="Smallest reward of a rollout.", rich_help_panel=_QUALITY)
    ] = None,
    min_confidence: Annotated[
        float, typer.Option(help="Smallest confidence of a search in its answer.", rich_help_panel=_QUALITY)
    ] = 0.0,
    min_agreement: Annotated[
        float,
        typer.Option(
            help="Smallest share of a search's rollouts that have the same answer as this one.",
            rich_help_panel=_QUALITY,
        ),
    ] = 0.0,
    keep_wrong: Annotated[
        bool,
        typer.Option(
            "--keep-wrong", help="Keep answers that differ from the reference answer.", rich_help_panel=_QUALITY
        ),
    ] = False,
    max_similarity: Annotated[
        float,
        typer.Option(
            help="Texts from this similarity on are near duplicates (share of common runs of 5 words); 1.1 keeps them.",
            rich_help_panel=_SPLITS,
        ),
    ] = 0.8,
    per_question: Annotated[
        int, typer.Option(help="Most traces, and most step records, of a question.", rich_help_panel=_SPLITS)
    ] = 4,
    pairs_per_question: Annotated[int, typer.Option(help="Most pairs of a question.", rich_help_panel=_SPLITS)] = 4,
    margin: Annotated[
        float,
        typer.Option(
            help="Where no reference answer decides which is better, by how much its reward must be higher.",
            rich_help_panel=_SPLITS,
        ),
    ] = 0.1,
    min_shared: Annotated[
        int, typer.Option(help="Fewest characters that both of a pair start with.", rich_help_panel=_SPLITS)
    ] = 1,
    validation: Annotated[
        float, typer.Option(help="Share of the questions to hold out.", rich_help_panel=_SPLITS)
    ] = 0.1,
    test: Annotated[
        float, typer.Option(help="Share of the questions to hold out besides.", rich_help_panel=_SPLITS)
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Another one holds out other questions.", rich_help_panel=_SPLITS)] = 0,
    json: options.JsonOption = False,
) -> None:
    """Make training data from finished searches: traces, step values and preference pairs.

    The folder has JSON lines by kind and split, README.md (a card with counts per filter) and dataset_info.json for
    LLaMA-Factory. The same sources and options give the same bytes. Ctrl-C is safe: the same command goes on.

    For example:

      marcot search -m qwen2.5-coder-0.5b --input questions.tsv --rollouts 16 --out searches.jsonl

      marcot dataset searches.jsonl --out data

      marcot dataset searches.jsonl --make sft --form thought-output --min-agreement 0.5 --per-question 1 --out sft

      marcot dataset cot_demo.json more.jsonl --make sft --validation 0.05 --test 0.05 --out cot
    """
    from ...dataset import DatasetOptions, Production
    from ...results.json_form import to_line
    from ..token_counting import chosen_tokenizer
    from .dataset_view import ProgressBar, report

    kinds = tuple(options.split_names(make, "--make"))
    try:
        counting = chosen_tokenizer(tokenizer, sources)
        chosen = DatasetOptions(
            kinds=kinds,
            form=form,
            min_characters=min_characters,
            max_characters=max_characters,
            max_repetition=max_repetition,
            max_foreign=max_foreign,
            min_value=min_value,
            min_confidence=min_confidence,
            min_agreement=min_agreement,
            keep_wrong=keep_wrong,
            max_similarity=max_similarity,
            per_question=per_question,
            pairs_per_question=pairs_per_question,
            margin=margin,
            min_shared=min_shared,
            validation=validation,
            test=test,
            seed=seed,
            skip_bad=skip_bad,
            tokenizer=counting.name,
            license=license,
        )
        with ProgressBar() as bar:
            production = Production(sources, out, chosen, counting.encode, bar.show, counting.fingerprint)
            produced: Produced = production.run()
    except KeyboardInterrupt:
        say(f"interrupted: the same command goes on; so far is in {out}.partial")
        raise typer.Exit(INTERRUPTED) from None
    print(to_line(produced.summary) if json else printable(report(produced, out)))
