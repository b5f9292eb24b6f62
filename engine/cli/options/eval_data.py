"""The options that say which questions `marcot eval` asks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import common as options

if TYPE_CHECKING:
    from ...evaluation import DataSet


@dataclass(frozen=True, slots=True)
class EvalDataOptions:
    """The questions of `marcot eval`."""

    data: Annotated[
        str,
        typer.Option(
            "--input",
            metavar="NAME|FILE",
            help="mgsm:en, mgsm:zh, or a file of questions with answers (.jsonl, .csv, .parquet or .tsv); :RANGE may "
            "follow.",
        ),
    ] = "mgsm:en"
    questions: options.QuestionsOption = None
    only_wrong: Annotated[
        list[Path] | None,
        typer.Option(help="Only questions that these result files (or folders) answer wrongly."),
    ] = None

    def read(self) -> DataSet:
        """The questions, with their answers.

        Raises:
            InputError: There is no such data set, or a file makes no sense.
        """
        from ...evaluation import DataSet, read_series

        chosen = DataSet.named(self.data, self.questions)
        return chosen.wrong_in(read_series(self.only_wrong, rules=None)) if self.only_wrong else chosen
