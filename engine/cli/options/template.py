"""The options of chat templates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date as Date
from typing import Annotated

import typer

from . import common as options


@dataclass(frozen=True, slots=True)
class TemplateOptions:
    """Options of every command that searches."""

    system: Annotated[str | None, typer.Option(help="System message; the chat template's own by default.")] = None
    date: Annotated[
        str | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            help="The date in a chat template that shows one; by default that of the results in --out, or today's.",
        ),
    ] = None

    @property
    def day(self) -> Date | None:
        """The given date, or None.

        Raises:
            InputError: It is not a date.
        """
        return options.parse_date(self.date)
