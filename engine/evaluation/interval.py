"""95 % confidence intervals of proportions."""

from __future__ import annotations

import math
from typing import NamedTuple

Z_95 = 1.959964
"""95 % of a normal distribution lies within this many standard deviations of the mean."""


class Interval(NamedTuple):
    """The interval from `low` to `high`."""

    low: float
    high: float


def wilson(right: int, count: int) -> Interval:
    """Wilson score interval of the proportion `right / count` (Wilson 1927, JASA 22:209)."""
    share, spread = right / count, Z_95**2 / count
    half = Z_95 * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    middle = share + spread / 2
    return Interval(max(0.0, middle - half) / (1 + spread), min(1.0, (middle + half) / (1 + spread)))
