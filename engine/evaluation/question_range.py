"""A selection of questions by number, such as `1-64,100`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from ..errors import InputError

_RUN = re.compile(r"\s*(\d{1,18})\s*(?:(-)\s*(\d{0,18})\s*)?")


@dataclass(frozen=True, slots=True)
class QuestionRange:
    """A set of question numbers, counted from 1.

    Attributes:
        text: The selection as it was written.
        runs: First and last number of each run; a last number of None means up to the end.
    """

    text: str
    runs: tuple[tuple[int, int | None], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse numbers and ranges separated by commas; `65-` means 65 and all later ones.

        Raises:
            InputError: The text is something else.
        """
        runs = []
        for part in text.split(","):
            match = _RUN.fullmatch(part)
            if match is None or int(match[1]) < 1 or (match[3] and int(match[3]) < int(match[1])):
                raise InputError(f"questions {text!r}: must be numbers and ranges, counted from 1, such as 1-64,100")
            first = int(match[1])
            runs.append((first, (int(match[3]) if match[3] else None) if match[2] else first))
        return cls(text, tuple(runs))

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        return any(first <= number and (last is None or number <= last) for first, last in self.runs)

    def check(self, count: int) -> None:
        """Check that all numbers are from 1 to `count`.

        Raises:
            InputError: A number is larger than `count`.
        """
        if any(max(first, last or 0) > count for first, last in self.runs):
            raise InputError(f"questions {self.text}: must be from 1 to {count}, as many as there are")
