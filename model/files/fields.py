"""Checked access to the untyped fields of an object in a file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ...kernels import MarcotError
from ..errors import UnsupportedConfigError

MAX_SIZE = 2**24
"""Upper bound of every width and count: far above any real model, far below what exceeds an int32 or a machine."""

MAX_COUNT = 2**53
"""Upper bound of numbers that a program has counted, such as bytes and tokens: JSON's numbers are exact up to it."""

MAX_NUMBER = 1e300
"""Upper bound of other numbers: several of them can be added without overflow."""

MAX_POSITIONS = 2**31 - 1
"""Upper bound of context lengths: positions are int32."""

MIN_ROPE_THETA = 1.001
"""Lower bound of RoPE's base: below it, all frequencies are equal and its logarithm is 0."""

YARN_ROTATIONS = {"low": 1e-3, "high": 1e6}
"""Bounds of YaRN's betas, whose logarithms must be finite; real ones are 1 and 32."""

MAX_ATTENTION_FACTOR = 1e3
"""Upper bound of YaRN's attention factor; for a context stretched a million times it is 2.4."""

MIN_NORM_EPS = 1e-30
"""Lower bound of a norm's epsilon, which in fp32 must stay above 0 for a row of zeros."""

_REQUIRED = object()

T = TypeVar("T", bound=str)


@dataclass(frozen=True, slots=True)
class Fields:
    """Named values of one file; every refusal names the file, the field and the value.

    Attributes:
        values: The raw fields, as JSON or GGUF metadata gives them.
        source: The file, for messages.
        prefix: Prefix of field names in messages, such as `"rope_scaling."`.
        error: The class of errors to raise.
    """

    values: Mapping[str, object]
    source: str
    prefix: str = ""
    error: type[MarcotError] = UnsupportedConfigError

    def refuse(self, name: str, why: str) -> MarcotError:
        """Return the error to raise about the field `name`."""
        shown = repr(self.values[name]) if name in self.values else "missing"
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return self.error(f"{self.source}: {self.prefix}{name} is {shown}: {why}")

    def present(self, name: str) -> bool:
        """Whether the field is present and not null."""
        return self.values.get(name) is not None

    def integer(self, name: str, default: object = _REQUIRED, *, low: int = 1, high: int = MAX_SIZE) -> int:
        """The field as an int in `[low, high]`; absent and null mean `default`."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.refuse(name, f"must be a whole number from {low} to {high}")
        return value

    def number(self, name: str, default: object = _REQUIRED, *, low: float = 0.0, high: float = 1e12) -> float:
        """The field as a finite float in `(low, high]`; absent and null mean `default`."""
        value = self._value(name, default)
        # Compare before converting: an int of a thousand digits has no float.
        if isinstance(value, bool) or not isinstance(value, int | float) or not low < value <= high:
            raise self.refuse(name, f"must be a finite number above {low:g}, at most {high:g}")
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """The field as a bool; absent and null mean `default`."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise self.refuse(name, "must be true or false")
        return value

    def text(self, name: str, default: object = _REQUIRED) -> str:
        """The field as a string; absent and null mean `default`."""
        value = self._value(name, default)
        if not isinstance(value, str):
            raise self.refuse(name, "must be a string")
        return value

    def choice(self, name: str, accepted: Sequence[T]) -> T:
        """The field as one of the strings `accepted`."""
        value = self.text(name)
        for good in accepted:
            if value == good:
                return good
        raise self.refuse(name, f"must be one of {', '.join(map(str, accepted))}")

    def token_ids(self, name: str, vocab_size: int) -> tuple[int, ...]:
        """The field as token ids below `vocab_size`; it may be absent, null, one id or a list."""
        value = self.values.get(name)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < vocab_size for i in ids):
            raise self.refuse(name, f"must hold token ids from 0 to {vocab_size - 1}")
        return tuple(dict.fromkeys(ids))

    def require(self, name: str, *accepted: object) -> None:
        """Refuse the field unless it is absent, null or one of `accepted`."""
        value = self.values.get(name)
        if value is not None and not any(type(value) is type(good) and value == good for good in accepted):
            good = " or ".join(repr(value) for value in accepted)
            raise self.refuse(name, f"only {good} is supported" if accepted else "not supported")

    def section(self, name: str) -> Fields:
        """The field as `Fields` of its own; absent and null are empty."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.refuse(name, "must be an object")
        return replace(self, values=value or {}, prefix=f"{self.prefix}{name}.")

    def sections(self, name: str) -> Iterator[tuple[str, Fields]]:
        """The field as an object of objects: their names and `Fields`."""
        section = self.section(name)
        return ((key, section.section(key)) for key in section.values)

    def records(self, name: str) -> list[Fields]:
        """The field as a list of objects."""
        value = self._value(name, _REQUIRED)
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self.refuse(name, "must be a list of objects")
        return [Fields(each, self.source, f"{self.prefix}{name}[{at}].", self.error) for at, each in enumerate(value)]

    def integers(self, name: str, *, low: int = 0, high: int = MAX_COUNT) -> tuple[int, ...]:
        """The field as a list of ints in `[low, high]`."""
        value = self._value(name, _REQUIRED)
        if not isinstance(value, list) or not all(type(each) is int and low <= each <= high for each in value):
            raise self.refuse(name, f"must be a list of whole numbers from {low} to {high}")
        return tuple(value)

    def numbers(self, name: str, *, low: float = -MAX_NUMBER, high: float = MAX_NUMBER) -> tuple[float | None, ...]:
        """The field as a list of finite floats in `[low, high]`, or None for null."""
        value = self._value(name, _REQUIRED)
        if not isinstance(value, list) or not all(
            each is None or (type(each) in (int, float) and low <= each <= high) for each in value
        ):
            raise self.refuse(name, f"must be a list of numbers from {low:g} to {high:g}, or null")
        return tuple(None if each is None else float(each) for each in value)

    def texts(self, name: str) -> tuple[str, ...]:
        """The field as a list of strings."""
        value = self._value(name, _REQUIRED)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.refuse(name, "must be a list of strings")
        return tuple(value)

    def _value(self, name: str, default: object) -> object:
        if self.present(name):
            value = self.values[name]
            if isinstance(value, float) and not math.isfinite(value):
                raise self.refuse(name, "must be finite")
            return value
        if default is _REQUIRED:
            raise self.refuse(name, "this field is required")
        return default
