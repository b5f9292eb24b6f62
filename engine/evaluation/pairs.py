"""The same questions answered twice: whether the second way is as often right as the first."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from .interval import Z_95, Interval


class Pairs(NamedTuple):
    """How many questions were answered right.

    Attributes:
        both: Both times.
        only_first: The first time only.
        only_second: The second time only.
        neither: Not at all.
    """

    both: int
    only_first: int
    only_second: int
    neither: int

    @staticmethod
    def of(answers: Iterable[tuple[bool, bool]]) -> Pairs:
        """Count `answers`, (first right, second right)."""
        counts = {(first, second): 0 for first in (True, False) for second in (True, False)}
        for answer in answers:
            counts[answer] += 1
        return Pairs(counts[True, True], counts[True, False], counts[False, True], counts[False, False])

    @property
    def p_value(self) -> float:
        """Two-sided exact McNemar test: how likely so uneven a split is if both ways are equally good."""
        differing, fewer = self.only_first + self.only_second, min(self.only_first, self.only_second)
        tail = sum(math.comb(differing, count) for count in range(fewer + 1)) / math.pow(2, differing)
        return min(1.0, 2 * tail)

    @property
    def difference(self) -> float:
        """Share that is right the second time, less that of the first."""
        return (self.only_second - self.only_first) / sum(self)

    @property
    def interval(self) -> Interval:
        """95 % interval of `difference`, each count raised by a half (Agresti and Min 2005, Stat. Med. 24:729)."""
        first, second, count = self.only_first + 0.5, self.only_second + 0.5, sum(self) + 2
        middle = (second - first) / count
        half = Z_95 * math.sqrt(first + second - (second - first) ** 2 / count) / count
        return Interval(middle - half, middle + half)
