"""The colours of values and confidences."""

from __future__ import annotations

import math
from collections.abc import Iterable

STOPS = ("#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725")
"""Low to high: matplotlib's viridis at 0.1, 0.2 to 1, whose lightness grows evenly, which reads alike with and without
colour vision deficiency. Its first tenth would not be seen on a dark page."""


def value_range(values: Iterable[float | None]) -> tuple[float, float]:
    """The lowest and the highest of the values that there are; (0, 1) if there are none."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return (min(known), max(known)) if known else (0.0, 1.0)


def colour(value: float, low: float, high: float) -> tuple[str, str]:
    """The colour of a value between `low` and `high`, and that of text which is readable on it."""
    share = (value - low) / (high - low) if high > low else 1.0
    place = min(max(share, 0.0), 1.0) * (len(STOPS) - 1)
    index = min(int(place), len(STOPS) - 2)
    mixed = [
        round(start + (end - start) * (place - index))
        for start, end in zip(_channels(STOPS[index]), _channels(STOPS[index + 1]), strict=True)
    ]
    return "#{:02x}{:02x}{:02x}".format(*mixed), "#ffffff" if place < (len(STOPS) - 1) * _DARK else "#000000"


_DARK = 0.4
"""Below this share of the scale, white has more contrast than black."""


def _channels(stop: str) -> list[int]:
    return list(bytes.fromhex(stop[1:]))
