"""The methods of texts, dicts and lists that a chat template may call, each with its cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from jinja2.runtime import Undefined
from markupsafe import Markup

from .budget import SCALARS, Budget, Once

Charge = Callable[..., None]
"""Pays for a call in advance, given the budget and the arguments (a method's object first)."""


def by_name(charge: Charge, names: str) -> dict[str, Charge]:
    """Return `charge` for each of the space-separated `names`."""
    return dict.fromkeys(names.split(), charge)


def method_of(budget: Budget, value: object, name: str) -> Callable[..., Any] | None:
    """Return a method of `value` that pays for itself, or None if templates may not call it."""
    charge = _CHARGES.get(type(value), {}).get(name)
    return None if charge is None else partial(_call, budget, charge, getattr(value, name))


def check_key(key: object) -> object:
    """Return `key`, if it may be the key of a dict.

    Raises:
        TypeError: It is not a text or a number.
    """
    if type(key) not in SCALARS and type(key) is not Markup and type(key) is not Undefined:
        raise TypeError(f"a {type(key).__name__} cannot be a key of a dict")
    return key


def count_items(items: object) -> int:
    """How many items `items` iterates over; 0 if it is not iterable."""
    sized = items.items if isinstance(items, Once) else items
    return len(sized) if hasattr(sized, "__len__") else 0


def _call(budget: Budget, charge: Charge, method: Any, *args: Any, **kwargs: Any) -> Any:
    charge(budget, method.__self__, *args, **kwargs)
    return method(*args, **kwargs)


def _read(budget: Budget, value: object, *args: object) -> None:
    budget.weigh(value, *args)


def _glance(budget: Budget, value: object) -> None:
    budget.spend(1)


def _copied(budget: Budget, value: dict[Any, Any] | list[Any]) -> None:
    budget.elements(len(value))


def _cased(budget: Budget, text: str) -> None:
    budget.text(4 * len(text))  # outside ASCII, Python reserves room for three characters per character


def pay_for_search(budget: Budget, text: str, wanted: object = None, *bounds: object, backwards: bool = False) -> None:
    """Pay for searching `wanted` in `text`."""
    if isinstance(wanted, str):
        budget.search(text, wanted, backwards=backwards)


def pay_for_split(budget: Budget, text: str, sep: object = None, maxsplit: int = -1) -> None:
    """Pay for the parts of `text`; `sep` None means white space."""
    if isinstance(sep, str) and sep:
        budget.search(text, sep, backwards=True)
        budget.elements(text.count(sep))
    else:
        budget.text(8 * len(text))


def pay_for_strip(budget: Budget, text: str, chars: str | None = None) -> None:
    """Pay for comparing the ends of `text` with all of `chars`."""
    budget.search(text, chars or "", backwards=True)


def pay_for_replacement(budget: Budget, text: str, old: str, new: str, count: int = -1) -> None:
    """Pay for replacing `old` by `new` in `text`."""
    budget.search(text, old)
    matches = text.count(old)
    budget.text((matches if count is None or count < 0 else min(matches, count)) * len(new))


def pay_for_join(budget: Budget, separator: str, items: object) -> None:
    """Pay for joining `items` with `separator`."""
    budget.weigh(items)
    budget.text(count_items(items) * len(separator))


def _split_lines(budget: Budget, text: str, keepends: bool = False) -> None:
    budget.text(8 * len(text))


def _padded(budget: Budget, text: str, width: int, fill: str = " ") -> None:
    budget.text(len(text) + max(width, 0))


def _expanded(budget: Budget, text: str, tabsize: int = 8) -> None:
    budget.text(len(text) + text.count("\t") * max(tabsize, 0))


def _looked_up(budget: Budget, value: object, key: object, default: object = None) -> None:
    check_key(key)


_TEXT_CHARGES: Mapping[str, Charge] = {
    **by_name(_read, "startswith endswith removeprefix removesuffix"),
    **by_name(
        _read, "isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isspace istitle isupper"
    ),
    **by_name(_cased, "capitalize casefold lower swapcase title upper"),
    **by_name(pay_for_search, "count find index partition"),
    **by_name(partial(pay_for_search, backwards=True), "rfind rindex rpartition"),
    **by_name(pay_for_split, "split rsplit"),
    **by_name(pay_for_strip, "strip lstrip rstrip"),
    **by_name(_padded, "center ljust rjust zfill"),
    "expandtabs": _expanded,
    "join": pay_for_join,
    "replace": pay_for_replacement,
    "splitlines": _split_lines,
}

_CHARGES: Mapping[type, Mapping[str, Charge]] = {
    str: _TEXT_CHARGES,
    Markup: _TEXT_CHARGES,
    dict: {"get": _looked_up, "copy": _copied, **by_name(_glance, "items keys values")},
    list: {"copy": _copied, **by_name(_read, "count index")},
    tuple: by_name(_read, "count index"),
}
