"""The options of a run over a file of questions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..streams import say

if TYPE_CHECKING:
    from ...results.question_file import InputQuestion

_PANEL = "Files"


@dataclass(frozen=True, slots=True)
class QuestionOptions:
    """A file of questions, which of them, and the files that the run writes."""

    input: Annotated[
        Path | None,
        typer.Option(
            help="A file of questions: .jsonl, .csv or .parquet (questions under --text-field, optional right answers "
            "under answer), .txt (one per line), or .tsv (question, then optional right answer).",
            rich_help_panel=_PANEL,
        ),
    ] = None
    text_field: Annotated[
        str, typer.Option(metavar="NAME", help="The field that holds the question.", rich_help_panel=_PANEL)
    ] = "question"
    id_field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The field that holds your own id; results contain it, and resuming uses it.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    questions: Annotated[
        str | None,
        typer.Option(metavar="RANGE", help="Only these questions, counted from 1: 1-64,100.", rich_help_panel=_PANEL),
    ] = None
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="N/COUNT",
            help="Only every COUNT-th question, from the N-th on: one command per machine, then marcot merge.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    out: Annotated[
        Path | None,
        typer.Option(
            help="Append a JSON line for each finished question; skip questions already in the file.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    stats_out: Annotated[
        Path | None,
        typer.Option(
            help="Append a JSON line about the run every ten seconds: questions/s, tokens/s, cache hits, pages.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    def read(self) -> list[InputQuestion]:
        """Read the selected questions.

        Raises:
            InputError: There is no file, it is invalid, or it has no such questions.
        """
        from ...errors import InputError
        from ...evaluation.question_range import QuestionRange
        from ...results.question_file import FieldNames, read_questions
        from ...results.shard import Shard

        if self.input is None:
            for name, value in (("questions", self.questions), ("shard", self.shard), ("id-field", self.id_field)):
                if value is not None:
                    raise InputError(f"--{name} {value}: needs --input FILE")
            return []
        wanted, shard = QuestionRange.parse(self.questions or "1-"), Shard.parse(self.shard or "1/1")
        whole = read_questions(self.input, FieldNames(self.text_field, self.id_field))
        wanted.check(len(whole))
        chosen = [each for each in whole if each.index + 1 in wanted and each.index in shard]
        if not chosen:
            say(f"--shard {self.shard}: none of the questions are in it, so there is nothing to do")
        return chosen
