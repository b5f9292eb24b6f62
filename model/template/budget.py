"""The budget of work for one rendering of a chat template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.runtime import Undefined
from markupsafe import Markup

STEPS = 2**24
"""Steps of one rendering; a step is about 50 ns of work. A chat of a hundred messages takes a hundred thousand."""

STEPS_PER_STEP_OF_INPUT = 32
"""Additional steps for each step that reading the messages once would take."""

MAX_DEPTH = 100
"""Maximum nesting of lists, which Python compares and prints by recursion."""

MAX_INTEGER = 2**60
"""Upper bound of integers that a template may compute; below it, no two have the same hash."""

_ELEMENT = 8
"""Steps per element of a list or a dict that is built or read: an object of about a hundred bytes."""

SCALARS = frozenset((str, int, float, bool, type(None)))
"""Types that may be keys of a dict: nested ones could be made to collide, or to overflow the stack."""

_DICT_VIEWS: tuple[type, ...] = (type({}.items()), type({}.keys()), type({}.values()))


class Once:
    """Items that can be read only once, and are truthy even if empty, like the results of jinja's lazy filters."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __repr__(self) -> str:
        return "<generator>"

    def __iter__(self) -> Iterator[Any]:
        items, self.items = self.items, []
        yield from items


class Budget:
    """The remaining steps. Every method raises `SecurityError` if they do not suffice.

    Operations that cost more than a constant are paid for in advance, by the characters and elements they touch. So
    neither time nor memory can exceed the budget by much, whatever a template does.
    """

    def __init__(self, steps: int = STEPS) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Pay for `steps` steps."""
        self.left -= steps
        if self.left < 0:
            raise SecurityError("stopped because it needs too much work or memory for these messages")

    def text(self, characters: int) -> None:
        """Pay for a text that is built or read."""
        self.spend((characters >> 1) + 1)

    def elements(self, count: int) -> None:
        """Pay for elements of lists and dicts that are built or read."""
        self.spend(_ELEMENT * count + 1)

    def search(self, text: str, wanted: str, *, backwards: bool = False) -> None:
        """Pay for searching one text in another, at worst the product of their lengths.

        Python falls back to a linear algorithm for long texts, but only when it searches forwards.
        """
        self.text(len(text) + len(wanted))
        self.spend(len(text) * (len(wanted) if backwards else min(len(wanted), 100)) >> 4)

    def weigh(self, *values: object) -> int:
        """Pay for reading `values` to their last element; return the steps taken.

        Raises:
            SecurityError: They are nested too deeply, or contain something that is not data, such as a macro.
        """
        before = self.left
        level: list[Any] = list(values)
        for _ in range(MAX_DEPTH):
            level = self._weigh_level(level)
            if not level:
                return before - self.left
        raise SecurityError(f"nests lists more than {MAX_DEPTH} deep")

    def _weigh_level(self, level: list[Any]) -> list[Any]:
        deeper: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str or kind is Markup:
                self.text(len(item))
            elif item is None or kind in SCALARS or kind is Undefined:
                self.spend(1)
            elif kind is list or kind is tuple or kind in _DICT_VIEWS:
                self.elements(len(item))
                deeper.extend(item)
            elif kind is dict:
                self.elements(2 * len(item))
                deeper.extend(item)
                deeper.extend(item.values())
            elif kind is range:
                self.elements(len(item))
            elif kind is Once:
                deeper.append(item.items)
            else:
                raise SecurityError(f"uses a {kind.__name__} as if it were data")
        return deeper


def plain(value: object, depth: int = MAX_DEPTH) -> Any:
    """Copy a message, or another value for a template, into plain text, numbers, lists and dicts.

    Raises:
        TypeError: It contains something else.
        ValueError: It is nested too deeply, or contains a number that is too large.
    """
    if value is None or type(value) in (str, bool, float):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        if value.bit_length() > 1024:
            raise ValueError("the messages hold an integer of more than 1024 bits")
        return int(value)
    if isinstance(value, float):
        return float(value)
    if depth == 0:
        raise ValueError(f"the messages are nested more than {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        return {_plain_key(key): plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(item, depth - 1) for item in value)
    raise TypeError(
        f"the messages hold a value of type {type(value).__name__}; use only text, numbers, lists and mappings"
    )


def _plain_key(key: object) -> Any:
    plain_key = plain(key)
    if type(plain_key) not in SCALARS:
        raise TypeError(f"the messages hold a mapping with a key of type {type(key).__name__}")
    return plain_key
