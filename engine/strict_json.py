"""JSON as its standard has it, which knows no NaN and no infinity."""

from __future__ import annotations

import math


def finite(value: object) -> object:
    """`value`, of dicts, lists and scalars, with None in place of every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value
