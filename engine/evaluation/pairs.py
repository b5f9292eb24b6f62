"""Paired comparison of two strategies on the same questions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from .interval import Z_95, Interval


class Pairs(NamedTuple):
    """Counts of questions by which of two strategies answered them rightly.

    Attributes:
        both: Both were right.
        only_first: Only the first was right.
        only_second: Only the second was right.
        neither: Both were wrong.
    """

    both: int
    only_first: int
    only_second: int
    neither: int

    @staticmethod
    def of(answers: Iterable[tuple[bool, bool]]) -> Pairs:
        """Count `answers`, pairs of (first is right, second is right)."""
        counts = {(first, second): 0 for first in (True, False) for second in (True, False)}
        for answer in answers:
            counts[answer] += 1
        return Pairs(counts[True, True], counts[True, False], counts[False, True], counts[False, False])

    @property
    def p_value(self) -> float:
        """p-value of the two-sided exact McNemar test of the hypothesis that both strategies are equally good."""
        differing = self.only_first + self.only_second
        ways = tail = 1  # integers: from 1,024 differing answers on, 2**differing is no float
        for count in range(min(self.only_first, self.only_second)):
            ways = ways * (differing - count) // (count + 1)
            tail += ways
        share: float = tail / (1 << differing)
        return min(1.0, 2 * share)

    @property
    def difference(self) -> float:
        """Accuracy of the second strategy minus that of the first; NaN if no question was answered by both."""
        return (self.only_second - self.only_first) / sum(self) if sum(self) else math.nan

    @property
    def interval(self) -> Interval:
        """95 % confidence interval of `difference`, with 1/2 added to each count.

        Source: Agresti and Min 2005, Stat. Med. 24:729.
        """
        first, second, count = self.only_first + 0.5, self.only_second + 0.5, sum(self) + 2
        middle = (second - first) / count
        half = Z_95 * math.sqrt(first + second - (second - first) ** 2 / count) / count
        return Interval(middle - half, middle + half)
