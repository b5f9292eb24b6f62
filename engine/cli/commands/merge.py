"""`marcot merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def merge(
    files: Annotated[list[Path], typer.Argument(help="Results files of marcot search --out, with equal settings.")],
    out: Annotated[Path, typer.Option(help="The merged file; it may be one of the files.")],
) -> None:
    """Put the results files of a run that was split into one, in the order of the questions, each question once.

    Errors give way to results; of several results of a question, the first counts.

    For example:

      marcot search -m ./my-checkpoint --input gsm8k.csv --shard 1/2 --out part-1.jsonl

      marcot search -m ./my-checkpoint --input gsm8k.csv --shard 2/2 --out part-2.jsonl

      marcot merge part-1.jsonl part-2.jsonl --out results.jsonl
    """
    from ...results.merged_results import merge_results
    from ...results.output_file import check_replaceable
    from ...results.results_file import is_results_head
    from ..streams import say

    check_replaceable(out, is_results_head, "a results file of marcot search", "give --out another name")
    merged = merge_results(files, out)
    parts = [f"{merged.questions} questions"]
    if merged.failed:
        parts.append(f"{merged.failed} of them failed")
    if merged.repeated:
        parts.append(f"{merged.repeated} repeated lines left out")
    if merged.missing:
        parts.append(f"{merged.missing} missing before the last one, the first is number {merged.first_missing}")
    say(f"{out}: {', '.join(parts)}")
