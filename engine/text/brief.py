"""Short reprs of records, on one line, with long texts and arrays abbreviated."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

LONGEST = 48
"""Maximum characters of a text to show."""

_FEW = 4
"""Maximum items of a sequence to show."""

_PLAIN = (bool, int, float, str, list, tuple, type(None))
"""Item types to show; for other types only the number of items is shown."""


def brief(value: object) -> str:
    """A short repr of `value`; a record uses its own repr."""
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else f"{value[: LONGEST - 3]}...")
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, BaseException):
        return f"{type(value).__name__}({brief(str(value))})"
    if type(value) in (tuple, list):
        return _brief_items(list(value))  # type: ignore[call-overload]
    return repr(value)


def brief_record(record: object, *names: str) -> str:
    """The repr of a dataclass or a `NamedTuple`: all of its fields, or those in `names`, abbreviated."""
    shown = names or getattr(record, "_fields", ()) or [field.name for field in fields(record)]  # type: ignore[arg-type]
    return f"{type(record).__name__}({', '.join(f'{name}={brief(getattr(record, name))}' for name in shown)})"


def brief_changes(record: object) -> str:
    """The repr of a dataclass of options: those that differ from their defaults, as one would type them."""
    options = ((field, getattr(record, field.name)) for field in fields(record))  # type: ignore[arg-type]
    changed = (f"{field.name}={value!r}" for field, value in options if value != field.default)
    return f"{type(record).__name__}({', '.join(changed)})"


def _brief_items(items: list[object]) -> str:
    if items and type(items[0]) not in _PLAIN:
        return f"[{len(items)} x {type(items[0]).__name__}]"
    shown = ", ".join(map(brief, items[:_FEW]))
    return f"[{shown}]" if len(items) <= _FEW else f"[{shown}, ... {len(items)} in all]"
