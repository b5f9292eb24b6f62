"""The colours of values and confidences: the same number has the same colour in every tree."""

from __future__ import annotations

STOPS = ("#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725")
"""Low to high: matplotlib's viridis at 0.1, 0.2 to 1, whose lightness grows evenly, which reads alike with and without
colour vision deficiency. Its first tenth would not be seen on a dark page."""

DARK = 0.37
"""Below this share of the scale, white has more contrast than black; either has 4.5 to 1 (WCAG 2.2, AA) or more."""

EXPONENT = 2
"""Of a number on the way to its share of the scale. Values are from 0 to 1, but those of language models are mostly
above 0.8, and squared they have two fifths of the scale there."""


def colour(value: float) -> tuple[str, str]:
    """The colour of a value from 0 to 1, and that of text which is readable on it."""
    share = min(max(value, 0.0), 1.0) ** EXPONENT
    place = share * (len(STOPS) - 1)
    index = min(int(place), len(STOPS) - 2)
    mixed = [
        round(start + (end - start) * (place - index))
        for start, end in zip(_channels(STOPS[index]), _channels(STOPS[index + 1]), strict=True)
    ]
    return "#{:02x}{:02x}{:02x}".format(*mixed), "#ffffff" if share < DARK else "#000000"


def _channels(stop: str) -> list[int]:
    return list(bytes.fromhex(stop[1:]))
