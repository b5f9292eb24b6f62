"""How a chat template turns values into text: printing, `%` and `format`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2.sandbox import SandboxedFormatter

from .budget import Budget

if TYPE_CHECKING:
    from .sandbox import Sandbox

_DIGITS = re.compile(r"\d+")


def as_text(budget: Budget, value: object) -> str:
    """`value` as printed text; only data can be printed."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[return-value]
    budget.weigh(value)
    text = str(value)
    budget.text(len(text))
    return text


def percent(budget: Budget, form: str, values: Any) -> str:
    """`form % values`, with every width in `form` paid for."""
    count = form.count("%")
    budget.text(len(form))
    budget.spend(budget.weigh(values) * count)
    _pay_for_numbers(budget, form)
    if "*" in form:
        for value in values if isinstance(values, tuple) else (values,):
            budget.text(abs(value) if isinstance(value, int) else 0)
    text: str = form % values
    budget.text(len(text))
    return text


class Formatter(SandboxedFormatter):
    """`str.format` with every width paid for and no access to anything that is not data."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self._budget = sandbox.budget

    def vformat(self, format_string: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return `format_string` with its fields filled in."""
        self._budget.text(8 * len(format_string))
        return super().vformat(format_string, args, kwargs)

    def convert_field(self, value: Any, conversion: Any) -> Any:
        """Apply `!s`, `!r` or `!a`."""
        self._budget.weigh(value)
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        """Return the text of one field."""
        self._budget.weigh(value)
        _pay_for_numbers(self._budget, format_spec)
        text: str = super().format_field(value, format_spec)
        self._budget.text(len(text))
        return text


def _pay_for_numbers(budget: Budget, form: str) -> None:
    """Pay for every number in `form` as if it were a width."""
    for digits in _DIGITS.findall(form):
        budget.text(int(digits[:12]))
