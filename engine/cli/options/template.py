"""The options that say what a chat template is given besides the question."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date as Date

from . import common as options


@dataclass(frozen=True, slots=True)
class TemplateOptions:
    """Options of every command that searches."""

    system: options.SystemOption = None
    date: options.DateOption = None

    @property
    def day(self) -> Date | None:
        """The day that was given.

        Raises:
            InputError: It is none.
        """
        return options.parse_date(self.date)
