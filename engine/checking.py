"""Checks users' arguments, so that a wrong value gives an error that names the argument, not a crash deeper inside."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import SupportsFloat, SupportsIndex

import numpy as np

from .errors import InputError

MAX_BRANCHES = 2**18
"""Maximum branches of one call. Each takes about 1.4 kB before its first token (measured), all together 0.4 GB, plus
memory for the drawn tokens."""

MAX_COUNT = 2**31 - 1
"""Upper bound of counts that need no memory, such as budgets; no search ever reaches it."""


def check_integer(
    name: str,
    value: object,
    allowed: str,
    *,
    least: int | None = None,
    most: int | None = None,
    error: type[InputError] = InputError,
) -> int:
    """`value` as an int. Integers of numpy and torch are accepted, bools and 2.0 are not.

    Raises:
        InputError: An `error` with the message `name=value: must be <allowed>`.
    """
    number = value if type(value) is int else _index(value)
    if number is None or (least is not None and number < least) or (most is not None and number > most):
        raise error(f"{name}={shown(value)}: must be {allowed}")
    return number


def check_count(name: str, value: object, allowed: str, *, least: int, error: type[InputError] = InputError) -> int:
    """`value` as an int from `least` to `MAX_COUNT`.

    Raises:
        InputError: An `error` with the message `name=value: must be <allowed>`, or one that gives the maximum.
    """
    number = check_integer(name, value, allowed, least=least, error=error)
    if number > MAX_COUNT:
        raise error(f"{name}={shown(value)}: must be at most {MAX_COUNT}")
    return number


def check_branches(name: str, number: int) -> int:
    """Check that `number` branches are not too many for one call, and return it.

    Raises:
        InputError: It is more than `MAX_BRANCHES`.
    """
    if number > MAX_BRANCHES:
        raise InputError(
            f"{name}={shown(number)}: one call takes at most {MAX_BRANCHES} branches; split them over several calls"
        )
    return number


def shown(value: object) -> str:
    """A short repr of any `value`, even of an integer of more than 4,300 digits, which Python refuses to print."""
    try:
        return f"{value!r:.100}"
    except Exception:  # a user's object may raise any error
        return f"<{type(value).__name__}>"


def _is_flag(value: object) -> bool:
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")


def _is_array(value: object) -> bool:
    ndim: object = getattr(value, "ndim", 0)
    return ndim != 0


def _index(value: object) -> int | None:
    """`value` as an int if it is a single integer, also of numpy or torch, but not a bool; else None."""
    if _is_flag(value) or _is_array(value) or not isinstance(value, SupportsIndex):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def check_number(
    name: str,
    value: object,
    allowed: str,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    error: type[InputError] = InputError,
) -> float:
    """`value` as a finite number from `least` to `most`, greater than `above` and less than `below`.

    Raises:
        InputError: An `error` with the message `name=value: must be <allowed>`.
    """
    number = math.nan
    if type(value) is float:  # fast path: the protocol check takes longer than everything else here
        number = value
    elif isinstance(value, SupportsFloat) and not _is_flag(value) and not _is_array(value):
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError, OverflowError):  # several values, or an integer of 400 digits
            number = math.nan
    if not (math.isfinite(number) and least <= number <= most and above < number < below):
        raise error(f"{name}={shown(value)}: must be {allowed}")
    return value if isinstance(value, int) else number


def check_flag(name: str, value: object, *, error: type[InputError] = InputError) -> bool:
    """`value`, if it is a bool; `"no"` and 0 are not.

    Raises:
        InputError: It is something else; raised as `error`.
    """
    if not isinstance(value, bool | np.bool_):
        raise error(f"{name}={shown(value)}: must be True or False")
    return bool(value)


def check_texts(
    name: str, value: object, *, may_be_empty: bool = False, error: type[InputError] = InputError
) -> tuple[str, ...]:
    """`value` as a tuple of texts, which must not be empty unless allowed; a single text is a tuple of one.

    Raises:
        InputError: It is something else; raised as `error`.
    """
    parts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (None,)
    if isinstance(value, bytes | Mapping) or not all(
        isinstance(part, str) and (part or may_be_empty) for part in parts
    ):
        raise error(f"{name}={shown(value)}: must be a tuple of non-empty strings, or one such string")
    return tuple(map(str, parts))


def check_integers(name: str, value: object, *, error: type[InputError] = InputError) -> tuple[int, ...]:
    """`value` as a tuple of integers >= 0; a single integer is a tuple of one.

    Raises:
        InputError: It is something else; raised as `error`.
    """
    allowed = "an integer >= 0 or a tuple of them"
    is_one = isinstance(value, str | bytes | Mapping) or getattr(value, "ndim", 1) == 0  # a 0-dimensional array
    parts = tuple(value) if isinstance(value, Iterable) and not is_one else (value,)
    return tuple(check_integer(name, part, allowed, least=0, error=error) for part in parts)


def refuse_class(name: str, value: object, kind: type) -> None:
    """Check that `value` is not a class derived from `kind`, where an instance is needed.

    Raises:
        InputError: It is a class; says how to write an instance.
    """
    if isinstance(value, type) and issubclass(value, kind):
        raise InputError(f"{name}={value.__name__}: this is a class, not an instance; write {value.__name__}()")
