"""The filters and tests that a chat template may use, each with its cost."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, ignore_case, make_attrgetter
from jinja2.tests import TESTS
from jinja2.utils import pass_environment
from markupsafe import Markup

from .budget import Budget, Once
from .format import as_text, percent
from .methods import Charge, by_name, check_key, count_items, pay_for_join, pay_for_replacement, pay_for_strip
from .operators import check_number, compare

if TYPE_CHECKING:
    from .sandbox import Sandbox

MAX_INDENT = 100
"""Maximum indentation of `tojson`, in characters."""


def paid_filters(budget: Budget) -> dict[str, Callable[..., Any]]:
    """Return jinja's allowed filters, each of which pays for itself, and our own."""
    return {**{name: _paid(budget, FILTERS[name], charge) for name, charge in _CHARGES.items()}, **_OWN}


def paid_tests(budget: Budget) -> dict[str, Any]:
    """Return jinja's allowed tests, each of which pays for itself."""
    own = {name: functools.partial(_compared, budget, symbol) for name, symbol in _COMPARED.items()}
    return {**{name: _paid(budget, TESTS[name], charge) for name, charge in _TEST_CHARGES.items()}, **own}


def _paid(budget: Budget, function: Any, charge: Charge) -> Callable[..., Any]:
    first = 1 if hasattr(function, "jinja_pass_arg") else 0  # an argument such as the context comes before the value

    @functools.wraps(function)
    def paid(*args: Any, **kwargs: Any) -> Any:
        charge(budget, *args[first:], **kwargs)
        result = function(*args, **kwargs)
        return Once(list(result)) if hasattr(result, "__next__") else result

    return paid


def _compared(budget: Budget, symbol: str, left: object, right: object) -> Any:
    return compare(budget, left, (symbol,), right)


def _glance(budget: Budget, *args: object, **kwargs: object) -> None:
    budget.spend(8)


def _read(budget: Budget, *args: object, **kwargs: object) -> None:
    budget.spend(4 * budget.weigh(*args, *kwargs.values()))


def _each(budget: Budget, value: object = (), *args: object, **kwargs: object) -> None:
    budget.elements(2 * count_items(value))
    budget.weigh(*args, *kwargs.values())


def _sorted(budget: Budget, value: object = (), *args: object, **kwargs: object) -> None:
    budget.spend(budget.weigh(value, *args, *kwargs.values()) * count_items(value).bit_length())


def _trimmed(budget: Budget, value: object, chars: str | None = None) -> None:
    pay_for_strip(budget, as_text(budget, value), chars)


def _indented(budget: Budget, text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> None:
    budget.text(8 * len(text))
    budget.text((1 + len(text.splitlines())) * (len(width) if isinstance(width, str) else max(width, 0)))


def _rounded(budget: Budget, value: object, precision: int = 0, method: str = "common") -> None:
    _number(budget, value)
    if not -20 <= precision <= 20:
        raise SecurityError(f"rounds to {precision:.10g} digits")


def _number(budget: Budget, value: object, *others: object) -> None:
    for number in (value, *others):
        if not isinstance(number, int | float):
            raise TypeError(f"a {type(number).__name__} is not a number")
        check_number(number)


_CHARGES: Mapping[str, Charge] = {
    **by_name(_glance, "count d default first last length"),
    **by_name(_read, "capitalize e escape float lower max min safe title truncate upper wordcount"),
    **by_name(_each, "items list map reject rejectattr reverse select selectattr"),
    **by_name(_sorted, "dictsort sort"),
    "abs": _number,
    "indent": _indented,
    "round": _rounded,
    "trim": _trimmed,
}

_TEST_CHARGES: Mapping[str, Charge] = {
    **by_name(_glance, "boolean callable defined escaped false float integer iterable mapping none"),
    **by_name(_glance, "number sameas sequence string true undefined"),
    **by_name(_number, "divisibleby even odd"),
    **by_name(_read, "lower upper"),
}

_COMPARED = {
    **dict.fromkeys(("==", "eq", "equalto"), "eq"),
    **dict.fromkeys(("!=", "ne"), "ne"),
    **dict.fromkeys((">", "gt", "greaterthan"), "gt"),
    **dict.fromkeys((">=", "ge"), "gteq"),
    **dict.fromkeys(("<", "lt", "lessthan"), "lt"),
    **dict.fromkeys(("<=", "le"), "lteq"),
    "in": "in",
}


@pass_environment
def _format(sandbox: Sandbox, value: object, *args: object, **kwargs: object) -> str:
    return percent(sandbox.budget, as_text(sandbox.budget, value), kwargs or args)


@pass_environment
def _int(sandbox: Sandbox, value: object, default: object = 0, base: int = 10) -> object:
    sandbox.budget.weigh(value)
    return check_number(FILTERS["int"](value, default, base))


@pass_environment
def _join(sandbox: Sandbox, value: Any, d: object = "", attribute: str | int | None = None) -> str:
    budget = sandbox.budget
    _each(budget, value, attribute)
    texts = [as_text(budget, item) for item in map(make_attrgetter(sandbox, attribute), value)]
    separator = as_text(budget, d)
    pay_for_join(budget, separator, texts)
    return str(separator).join(map(str, texts))


@pass_environment
def _replace(sandbox: Sandbox, value: object, old: object, new: object, count: int | None = None) -> str:
    text, old, new = (as_text(sandbox.budget, item) for item in (value, old, new))
    pay_for_replacement(sandbox.budget, text, old, new, -1 if count is None else count)
    return str(text).replace(str(old), str(new), -1 if count is None else count)


@pass_environment
def _string(sandbox: Sandbox, value: object) -> str:
    return value if isinstance(value, Markup) else as_text(sandbox.budget, value)


@pass_environment
def _sum(sandbox: Sandbox, iterable: Any, attribute: str | int | None = None, start: Any = 0) -> Any:
    _each(sandbox.budget, iterable, attribute)
    for item in map(make_attrgetter(sandbox, attribute), iterable):
        start = sandbox.compute("+", start, item)
    return start


@pass_environment
def _unique(sandbox: Sandbox, value: Any, case_sensitive: bool = False, attribute: str | int | None = None) -> Once:
    _each(sandbox.budget, value, attribute)
    key_of = make_attrgetter(sandbox, attribute, postprocess=None if case_sensitive else ignore_case)
    found: dict[Any, Any] = {}
    for item in value:
        key = key_of(item)
        check_key(key)
        sandbox.budget.weigh(key)
        found.setdefault(key, item)
    return Once(list(found.values()))


@pass_environment
def _to_json(
    sandbox: Sandbox,
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    budget = sandbox.budget
    weight = budget.weigh(value, separators)
    options: dict[str, Any] = {"ensure_ascii": ensure_ascii, "separators": separators, "sort_keys": sort_keys}
    if indent is None:
        budget.spend(weight * (2 + sum(map(len, separators or ()))))
        return json.dumps(value, **options)
    if (len(indent) if isinstance(indent, str) else indent) > MAX_INDENT:
        raise SecurityError(f"indents JSON by more than {MAX_INDENT} characters")
    chunks = []
    for chunk in json.JSONEncoder(indent=indent, **options).iterencode(value):
        budget.text(len(chunk) + MAX_INDENT)
        chunks.append(chunk)
    return "".join(chunks)


_OWN: Mapping[str, Callable[..., Any]] = {
    "format": _format,
    "int": _int,
    "join": _join,
    "replace": _replace,
    "string": _string,
    "sum": _sum,
    "tojson": _to_json,
    "unique": _unique,
}
