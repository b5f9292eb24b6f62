"""Checks of what users pass, so that a wrong type is refused by its name and not met somewhere inside."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import SupportsFloat, SupportsIndex

import numpy as np

from .errors import InputError


def whole(
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
    if type(value) is int:
        number = value
    elif isinstance(value, SupportsIndex) and not isinstance(value, bool | np.bool_):
        try:
            number = operator.index(value)
        except TypeError:
            raise error(f"{name}={value!r}: must be {allowed}") from None
    else:
        raise error(f"{name}={value!r}: must be {allowed}")
    if (least is not None and number < least) or (most is not None and number > most):
        raise error(f"{name}={value!r}: must be {allowed}")
    return number


def real(
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
    if isinstance(value, SupportsFloat) and not isinstance(value, bool | np.bool_):
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError, OverflowError):  # several at once, or an integer of 400 digits
            number = math.nan
    if not (math.isfinite(number) and least <= number <= most and above < number < below):
        raise error(f"{name}={value!r:.100}: must be {allowed}")
    return value if isinstance(value, int) else number


def flag(name: str, value: object, *, error: type[InputError] = InputError) -> bool:
    """`value` as a bool, which it must be: `"no"` and 0 are not.

    Raises:
        InputError: It is something else; of the kind `error`.
    """
    if not isinstance(value, bool | np.bool_):
        raise error(f"{name}={value!r}: must be True or False")
    return bool(value)


def texts(
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
        raise error(f"{name}={value!r}: must be a tuple of non-empty strings, or one such string")
    return tuple(map(str, parts))


def wholes(name: str, value: object, *, error: type[InputError] = InputError) -> tuple[int, ...]:
    """`value` as a tuple of integers >= 0; a single integer is a tuple of one.

    Raises:
        InputError: It is something else; of the kind `error`.
    """
    allowed = "an integer >= 0 or a tuple of them"
    is_one = isinstance(value, str | bytes | Mapping) or getattr(value, "ndim", 1) == 0  # an array without dimensions
    parts = tuple(value) if isinstance(value, Iterable) and not is_one else (value,)
    return tuple(whole(name, part, allowed, least=0, error=error) for part in parts)


def no_class(name: str, value: object, kind: type) -> None:
    """See that `value` is not a class of `kind` where an object of it is wanted.

    Raises:
        InputError: It is; says how to make an object.
    """
    if isinstance(value, type) and issubclass(value, kind):
        raise InputError(f"{name}={value.__name__}: is a class; write {value.__name__}()")
