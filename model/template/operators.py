"""The operators of a chat template, each paid for in advance."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.runtime import Undefined
from markupsafe import Markup

from .budget import MAX_INTEGER, SCALARS, Budget
from .format import as_text, percent
from .methods import check_key

_NUMBERS = (int, float, bool)

_ATOMS = SCALARS | {Markup, Undefined}
"""Types without elements to compare."""

_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}

_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "in": lambda item, items: item in items,
    "notin": lambda item, items: item not in items,
}
"""Comparison operators by their names in jinja's tree."""


def compute(budget: Budget, symbol: str, left: Any, right: Any) -> Any:
    """Return `left symbol right`.

    Raises:
        SecurityError: The operation costs too much, or its result is too large.
        TypeError: The operands do not support it.
    """
    if symbol == "**":
        raise SecurityError("powers are not allowed in a template")
    kinds = type(left), type(right)
    if kinds[0] in _NUMBERS and kinds[1] in _NUMBERS:
        return check_number(_ARITHMETIC[symbol](check_number(left), check_number(right)))
    if symbol == "%" and kinds[0] is str:
        return percent(budget, left, right)
    if symbol == "+" and isinstance(left, str) and isinstance(right, str):
        budget.text(len(left) + len(right))
    elif symbol == "+" and kinds in ((list, list), (tuple, tuple)):
        budget.elements(len(left) + len(right))
    elif symbol == "*" and int in kinds:
        sequence, times = (right, left) if kinds[0] is int else (left, right)
        _pay_for_repetition(budget, sequence, times)
    elif Undefined not in kinds:
        raise TypeError(f"there is no {kinds[0].__name__} {symbol} {kinds[1].__name__}")
    return _ARITHMETIC[symbol](left, right)


def compare(budget: Budget, left: Any, symbols: Sequence[str], *rights: Any) -> Any:
    """Return `left symbols[0] rights[0] symbols[1] ...`, a chained comparison."""
    result: Any = True
    for symbol, right in zip(symbols, rights, strict=True):
        if symbol in ("in", "notin"):
            _pay_for_membership(budget, left, right)
        else:
            _pay_for_comparison(budget, left, right)
        result = _COMPARISONS[symbol](left, right)
        if not result:
            return result
        left = right
    return result


def cut(budget: Budget, value: Any, *bounds: Any) -> Any:
    """Return `value[start:stop:step]`."""
    part = slice(*bounds)
    if isinstance(value, str):
        budget.text(len(range(len(value))[part]))
    elif isinstance(value, list | tuple):
        budget.elements(len(range(len(value))[part]))
    return value[part]


def concatenate(budget: Budget, values: Sequence[object]) -> str:
    """Return the texts of `values` joined, as `~` does."""
    texts = [as_text(budget, value) for value in values]
    budget.text(sum(map(len, texts)))
    return "".join(texts)


def check_number(number: Any) -> Any:
    """Return `number`, unless it is too large an integer."""
    if type(number) is int and not -MAX_INTEGER < number < MAX_INTEGER:
        raise SecurityError("computes with too large an integer")
    return number


def _pay_for_repetition(budget: Budget, sequence: object, times: int) -> None:
    if isinstance(sequence, str):
        budget.text(len(sequence) * max(times, 0))
    elif isinstance(sequence, list | tuple):
        budget.elements(len(sequence) * max(times, 0))
    elif not isinstance(sequence, Undefined):
        raise TypeError(f"there is no {type(sequence).__name__} times {times}")


def _pay_for_comparison(budget: Budget, left: object, right: object) -> None:
    if isinstance(left, str) and isinstance(right, str):
        budget.spend((min(len(left), len(right)) >> 4) + 1)
    elif type(left) not in _ATOMS and type(right) not in _ATOMS and left and right:
        budget.weigh(left, right)


def _pay_for_membership(budget: Budget, item: object, items: object) -> None:
    if isinstance(items, str):
        if isinstance(item, str):
            budget.search(items, item)
    elif isinstance(items, dict):
        check_key(item)
    elif isinstance(items, list | tuple) and type(item) in SCALARS:
        budget.spend(len(items) * (1 + (len(item) >> 4 if isinstance(item, str) else 0)) + 1)
    else:
        budget.weigh(item, items)
