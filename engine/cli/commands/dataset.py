"""`marcot dataset`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...text.printable import printable
from ..options import common as options
from ..options.dataset import ContentOptions, FilterOptions, SplitOptions
from ..options.groups import grouped
from ..signals import INTERRUPTED
from ..streams import say

if TYPE_CHECKING:
    from ...dataset import BuildResult


@grouped
def dataset(
    *,
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Any mix of files from marcot search --out or marcot eval --full, and chain-of-thought samples "
            "(in Marco-o1's, Open-O1's or messages format; JSON lines or a JSON array).",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to create. Run the command again to resume.")],
    content: ContentOptions,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Count and skip invalid lines instead of stopping at the first."),
    ] = False,
    filters: FilterOptions,
    splits: SplitOptions,
    json: options.JsonOption = False,
) -> None:
    """Turn finished searches into training data: traces, step values and preference pairs.

    The folder has JSON lines by kind and split, README.md (a data card with counts per filter) and dataset_info.json
    for LLaMA-Factory. The same sources and options give the same bytes. After Ctrl-C, run the same command again to
    resume.

    For example:

      marcot search -m qwen2.5-coder-0.5b --input questions.tsv --rollouts 16 --out searches.jsonl

      marcot dataset searches.jsonl --out data

      marcot dataset searches.jsonl --make sft --form thought-output --min-agreement 0.5 --per-question 1 --out sft

      marcot dataset cot_demo.json more.jsonl --make sft --validation 0.05 --test 0.05 --out cot
    """
    from ...dataset import DatasetBuilder, DatasetOptions
    from ...results.json_form import to_line
    from ..token_counting import chosen_tokenizer
    from .dataset_view import ProgressBar, report

    kinds = tuple(options.split_names(content.make, "--make"))
    try:
        counting = chosen_tokenizer(content.tokenizer, sources)
        chosen = DatasetOptions(
            kinds=kinds,
            form=content.form,
            tokenizer=counting.name,
            license=content.license,
            skip_bad=skip_bad,
            **asdict(filters),
            **asdict(splits),
        )
        with ProgressBar() as bar:
            builder = DatasetBuilder(sources, out, chosen, counting.encode, bar.show, counting.fingerprint)
            built: BuildResult = builder.run()
    except KeyboardInterrupt:
        say(f"interrupted: run the same command again to resume from {out}.partial")
        raise typer.Exit(INTERRUPTED) from None
    print(to_line(built.summary) if json else printable(report(built, out)))
