"""The colour scale of values and confidences: a number has the same colour in every tree."""

from __future__ import annotations

STOPS = ("#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725")
"""Colours from low to high: matplotlib's viridis at 0.1, 0.2, ..., 1. Its lightness grows evenly, so it reads the same
with colour vision deficiency. Its first tenth would be invisible on a dark page."""

DARK = 0.37
"""Text is white below this share of the scale and black above it; its contrast is at least 4.5 to 1 (WCAG 2.2, AA)."""

EXPONENT = 2
"""A number's place on the scale is its square. Values go from 0 to 1 but are mostly above 0.8 for language models;
squaring gives that range 36 % of the scale instead of 20 %."""


def colour(value: float) -> tuple[str, str]:
    """The colour of a value from 0 to 1, and the colour of readable text on it."""
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
