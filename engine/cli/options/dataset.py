"""The options of `marcot dataset`, in groups. See `DatasetOptions` for what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

_CONTENT = "Contents"
_HEURISTIC = "Heuristic filters, applied to every text"
_QUALITY = "Quality filters, applied to traces and chosen answers"
_SPLITS = "Limits and splits"


@dataclass(frozen=True, slots=True)
class ContentOptions:
    """What is made, and how it is described."""

    make: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="sft: traces to imitate. steps: values of single steps, for process reward models. pairs: a better "
            "and a worse answer with a common beginning, for DPO.",
            rich_help_panel=_CONTENT,
        ),
    ] = "sft,steps,pairs"
    form: Annotated[
        str,
        typer.Option(
            help="as-is, or thought-output: <Thought>reasoning</Thought><Output>answer</Output>, Marco-o1's format.",
            rich_help_panel=_CONTENT,
        ),
    ] = "as-is"
    tokenizer: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="The model whose tokenizer counts tokens, named as for marcot search; auto: the model of the "
            "searches, if it is on this machine; none: do not count.",
            rich_help_panel=_CONTENT,
        ),
    ] = "auto"
    license: Annotated[
        str | None,
        typer.Option(help="Licence to state in the data card, such as apache-2.0.", rich_help_panel=_CONTENT),
    ] = None


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """What a text must be."""

    min_characters: Annotated[int, typer.Option(help="Minimum length of a text.", rich_help_panel=_HEURISTIC)] = 20
    max_characters: Annotated[int, typer.Option(help="Maximum length of a text.", rich_help_panel=_HEURISTIC)] = 20_000
    max_repetition: Annotated[
        float,
        typer.Option(
            help="Maximum share of runs of 8 words that are repeats. Text that ends in a loop is always dropped.",
            rich_help_panel=_HEURISTIC,
        ),
    ] = 0.2
    max_foreign: Annotated[
        float,
        typer.Option(
            help="Maximum share of words in another script than the question's (English in a Chinese answer); 1 for "
            "translations.",
            rich_help_panel=_HEURISTIC,
        ),
    ] = 0.1
    min_value: Annotated[float | None, typer.Option(help="Minimum value of a rollout.", rich_help_panel=_QUALITY)] = (
        None
    )
    min_confidence: Annotated[
        float, typer.Option(help="Minimum confidence of a search in its answer.", rich_help_panel=_QUALITY)
    ] = 0.0
    min_agreement: Annotated[
        float,
        typer.Option(
            help="Minimum share of a search's rollouts that have the same answer.",
            rich_help_panel=_QUALITY,
        ),
    ] = 0.0
    keep_wrong: Annotated[
        bool,
        typer.Option(
            "--keep-wrong", help="Keep answers that differ from the reference answer.", rich_help_panel=_QUALITY
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """How much of a question is kept, and which questions are held out."""

    max_similarity: Annotated[
        float,
        typer.Option(
            help="Texts with at least this similarity (share of common runs of 5 words) are near duplicates; 1.1 keeps "
            "them.",
            rich_help_panel=_SPLITS,
        ),
    ] = 0.8
    per_question: Annotated[
        int, typer.Option(help="Maximum traces, and maximum step records, per question.", rich_help_panel=_SPLITS)
    ] = 4
    pairs_per_question: Annotated[int, typer.Option(help="Maximum pairs per question.", rich_help_panel=_SPLITS)] = 4
    margin: Annotated[
        float,
        typer.Option(
            help="Without a reference answer, how much higher the value of the better one must be.",
            rich_help_panel=_SPLITS,
        ),
    ] = 0.1
    min_shared: Annotated[
        int,
        typer.Option(help="Minimum characters that both answers of a pair start with.", rich_help_panel=_SPLITS),
    ] = 1
    validation: Annotated[
        float, typer.Option(help="Share of the questions for the validation split.", rich_help_panel=_SPLITS)
    ] = 0.1
    test: Annotated[float, typer.Option(help="Share of the questions for the test split.", rich_help_panel=_SPLITS)] = (
        0.0
    )
    seed: Annotated[int, typer.Option(help="Another seed holds out other questions.", rich_help_panel=_SPLITS)] = 0
