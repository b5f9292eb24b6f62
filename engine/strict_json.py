"""JSON as its standard has it, which knows no NaN and no infinity."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 200
"""Lists and objects inside one another; what is read has to be written again, with more around it."""


def finite(value: object) -> object:
    """`value`, of dicts, lists and scalars, with None in place of every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value


def parse(text: str | bytes) -> Any:  # noqa: ANN401  (what a file holds)
    """Read JSON that a user gives, however odd it is.

    Raises:
        ValueError: It is no JSON, not UTF-8, nested too deeply, or has an integer of thousands of digits; the message
            says which, in words that follow the name of a file.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError:
        raise ValueError("has an integer of too many digits") from None


def is_deep(value: object, depth: int = MAX_DEPTH) -> bool:
    """Whether more than `depth` lists and objects of `value` are inside one another."""
    if not isinstance(value, dict | list):
        return False
    entries = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(is_deep(entry, depth - 1) for entry in entries)
