"""Finds out whether the user's code is slow, and how long it may take."""

from __future__ import annotations

from inspect import iscoroutinefunction

from ..checking import check_flag, check_number


def is_async(code: object) -> bool:
    """Whether `code` is an `async def` function, or an object that is called by one."""
    return iscoroutinefunction(code) or iscoroutinefunction(getattr(type(code), "__call__", None))  # noqa: B004


def is_slow(code: object) -> bool:
    """Whether other questions go on while `code` runs.

    Its attribute `slow` says so. Without one, code is slow if it is asynchronous, or has a method `batch`.

    Raises:
        InputError: `slow` is neither True nor False.
    """
    is_marked = getattr(code, "slow", None)
    if is_marked is None:
        return is_async(code) or callable(getattr(code, "batch", None))
    return check_flag("slow", is_marked)


def timeout_of(code: object) -> float | None:
    """Seconds that one call of `code` may take (its attribute `timeout`); None for no limit.

    Raises:
        InputError: It is not a number above 0.
    """
    seconds = getattr(code, "timeout", None)
    return None if seconds is None else check_number("timeout", seconds, "a finite number > 0, or None", above=0)
