"""Checks of what users pass, so that a wrong type is refused by its name and not met somewhere inside."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import SupportsFloat, SupportsIndex

import numpy as np

from .errors import InputError

MAX_BRANCHES = 2**18
"""Branches that are asked for at a time: each takes about 1.4 kB before its first token (measured), all of them 0.4 GB.
What they draw comes on top, so that more are better asked for in parts."""

MAX_COUNT = 2**31 - 1
"""What a count may be that costs nothing by itself, such as a budget: no search ever reaches it."""


def check_integer(
    name: str,
    value: object,
    allowed: str,
    *,
    least: int | None = None,
    most: int | None = None,
    error: type[InputError] = InputError,
) -> int:
    """`value` as an int: integers of numpy and torch are welcome, truth values and 2.0 are not.

    Raises:
        InputError: `name=value: must be <allowed>`, of the kind `error`.
    """
    number = value if type(value) is int else _index(value)
    if number is None or (least is not None and number < least) or (most is not None and number > most):
        raise error(f"{name}={shown(value)}: must be {allowed}")
    return number


def check_count(name: str, value: object, allowed: str, *, least: int, error: type[InputError] = InputError) -> int:
    """`value` as an int from `least` to `MAX_COUNT`.

    Raises:
        InputError: `name=value: must be <allowed>`, or at most so many; of the kind `error`.
    """
    number = check_integer(name, value, allowed, least=least, error=error)
    if number > MAX_COUNT:
        raise error(f"{name}={shown(value)}: must be at most {MAX_COUNT}")
    return number


def check_branches(name: str, number: int) -> int:
    """`number`, which branches are asked for at a time.

    Raises:
        InputError: It is more than `MAX_BRANCHES`.
    """
    if number > MAX_BRANCHES:
        raise InputError(
            f"{name}={shown(number)}: at most {MAX_BRANCHES} branches fit into one call; split them over several calls"
        )
    return number


def shown(value: object) -> str:
    """What a message shows of any `value`: Python refuses to write out integers of more than 4,300 digits."""
    try:
        return f"{value!r:.100}"
    except Exception:  # a user's object may raise anything
        return f"<{type(value).__name__}>"


def _is_flag(value: object) -> bool:
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")


def _is_array(value: object) -> bool:
    ndim: object = getattr(value, "ndim", 0)
    return ndim != 0


def _index(value: object) -> int | None:
    """`value` as an int if it is a single integer, and no truth value, of numpy's or torch's."""
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
        InputError: `name=value: must be <allowed>`, of the kind `error`.
    """
    number = math.nan
    if type(value) is float:  # which looking at the protocol takes longer to find out than all the rest
        number = value
    elif isinstance(value, SupportsFloat) and not _is_flag(value) and not _is_array(value):
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError, OverflowError):  # several at once, or an integer of 400 digits
            number = math.nan
    if not (math.isfinite(number) and least <= number <= most and above < number < below):
        raise error(f"{name}={shown(value)}: must be {allowed}")
    return value if isinstance(value, int) else number


def check_flag(name: str, value: object, *, error: type[InputError] = InputError) -> bool:
    """`value` as a bool, which it must be: `"no"` and 0 are not.

    Raises:
        InputError: It is something else; of the kind `error`.
    """
    if not isinstance(value, bool | np.bool_):
        raise error(f"{name}={shown(value)}: must be True or False")
    return bool(value)


def check_texts(
    name: str, value: object, *, may_be_empty: bool = False, error: type[InputError] = InputError
) -> tuple[str, ...]:
    """`value` as a tuple of texts, none of which is empty unless it may be; a single one is not one of its letters.

    Raises:
        InputError: It is something else; of the kind `error`.
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
        InputError: It is something else; of the kind `error`.
    """
    allowed = "an integer >= 0 or a tuple of them"
    is_one = isinstance(value, str | bytes | Mapping) or getattr(value, "ndim", 1) == 0  # an array without dimensions
    parts = tuple(value) if isinstance(value, Iterable) and not is_one else (value,)
    return tuple(check_integer(name, part, allowed, least=0, error=error) for part in parts)


def refuse_class(name: str, value: object, kind: type) -> None:
    """See that `value` is not a class of `kind` where an object of it is wanted.

    Raises:
        InputError: It is; says how to make an object.
    """
    if isinstance(value, type) and issubclass(value, kind):
        raise InputError(f"{name}={value.__name__}: is a class; write {value.__name__}()")
