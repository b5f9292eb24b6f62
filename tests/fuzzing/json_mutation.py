"""Mutated JSON: other values and types in any place, at any depth, and constructs that JSON forbids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any


class Object(list[list[Any]]):
    """The `[key, value]` pairs of a JSON object, so that a key can occur twice."""

    def get(self, key: str) -> Any:
        """The first value of `key`, or None."""
        return next((value for name, value in self if name == key), None)

    def put(self, key: str, value: object) -> None:
        """Make `value` the only value of `key`."""
        self[:] = [*(pair for pair in self if pair[0] != key), [key, value]]


class Raw(str):
    """A value that is written as it is."""

    __slots__ = ()


ODD_NUMBERS = (
    0, -1, 1, 2, 3, 7, 255, 2**15, 2**24, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64,
    10**30, 0.0, -0.0, 0.5, 1.5, -1.0, 1e-300, 5e-324, 1e-30, 1e12, 1e38, 1e39, 1e308, 1e15, 3e-8,
)  # fmt: skip
ODD_TEXTS = (
    "", " ", "a", "\0", "\x1b[31mred\x1b[0m", "\u202eleft", "\ud800", "\ufffd", "a" * 70_000, "../x", "/etc/passwd",
    "null", "NaN", "1", "é" * 300, "<|im_end|>", "<|endoftext|>", "</s>", "<unk>", "Ġ", "{{ 1 }}", "%s", "\n",
)  # fmt: skip
_RAW = (
    Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), Raw("1e999"), Raw("-1e999"), Raw("9" * 5000), Raw("-0"),
    Raw("[" * 150 + "]" * 150), Raw("[" * 100_000 + "]" * 100_000), Raw('{"a":' * 2000 + "1" + "}" * 2000),
    Raw('"\\ud800"'), Raw('"\\u0000"'), Raw("01"), Raw("tru"), Raw("'a'"), Raw(""), Raw("{}{}"), Raw("[1,]"),
)  # fmt: skip


def parsed(text: bytes) -> Any:
    """Parse JSON, with objects as `Object`s."""
    return json.loads(text, object_pairs_hook=lambda pairs: Object(map(list, pairs)))


def written(value: Any) -> bytes:
    """Write `value` as JSON, with `Raw` values as they are."""
    return "".join(_pieces(value)).encode("utf-8", "surrogatepass")


def _pieces(value: Any) -> Iterator[str]:
    if isinstance(value, Raw):
        yield value
    elif isinstance(value, Object):
        yield "{"
        for number, (key, entry) in enumerate(value):
            yield f"{',' if number else ''}{_scalar(key)}:"
            yield from _pieces(entry)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, entry in enumerate(value):
            yield "," if number else ""
            yield from _pieces(entry)
        yield "]"
    else:
        yield _scalar(value)


def _scalar(value: Any) -> str:
    half = isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value)
    return json.dumps(value, ensure_ascii=half)


def odd_value(random: Random) -> Any:
    """A value of any type, which hardly any field expects."""
    kind = random.randrange(9)
    if kind < 3:
        return random.choice(ODD_NUMBERS)
    if kind < 5:
        return random.choice(ODD_TEXTS)
    if kind == 5:
        return random.choice(_RAW)
    return random.choice((None, True, False, [], Object(), [[]], [None], Object([["a", 1]]), Object([["content", ""]])))


def mutate(value: Any, random: Random) -> tuple[Any, str]:
    """Change one place of `value`, in place where possible; return it and a description."""
    places = list(_places(value))
    if not places:
        return odd_value(random), "everything replaced"
    few = [place for place in places if len(place[0]) <= 40]
    container, index, path = random.choice(few if few and random.random() < 0.8 else places)
    entry = container[index]
    value_of = entry[1] if isinstance(container, Object) else entry

    def put(new: Any) -> None:
        if isinstance(container, Object):
            entry[1] = new
        else:
            container[index] = new

    action = random.choice(
        ("odd", "odd", "odd", "near", "near", "delete", "twice", "swap", "wrap", "text", "rename", "many", "steal")
    )
    if action == "odd":
        put(odd_value(random))
    elif action == "near":
        put(_near(value_of, random))
    elif action == "delete":
        del container[index]
    elif action == "twice":
        again = [entry[0], odd_value(random)] if isinstance(container, Object) and random.random() < 0.7 else entry
        container.insert(random.randrange(len(container) + 1), again)
    elif action == "swap":
        other = random.randrange(len(container))
        if isinstance(container, Object):
            entry[1], container[other][1] = container[other][1], entry[1]
        else:
            container[index], container[other] = container[other], container[index]
    elif action == "wrap":
        put([value_of] if random.random() < 0.5 else Object([["a", value_of]]))
    elif action == "text":
        put(str(value_of)[:1000])
    elif action == "rename" and isinstance(container, Object):
        entry[0] = random.choice(ODD_TEXTS)
    elif action == "many":
        put([value_of] * random.choice((2, 1000)))
    else:
        thief, victim = random.choice(places), random.choice(places)
        stolen = victim[0][victim[1]]
        stolen = parsed(written(stolen[1] if isinstance(victim[0], Object) else stolen)) if _plain(stolen) else None
        if isinstance(thief[0], Object):
            thief[0][thief[1]][1] = stolen
        else:
            thief[0][thief[1]] = stolen
    return value, f"{action} at {path or 'top'}"


def _near(value: Any, random: Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return random.choice(
            (value + 1, value - 1, -value, value * 2, value // 2, value * 1000, float(value), value * 2**32, str(value))
        )
    if isinstance(value, str) and value:
        at = random.randrange(len(value))
        return random.choice(
            (value[:at], value + value, value[at:], value[:at] + random.choice(ODD_TEXTS) + value[at:])
        )
    if isinstance(value, list) and value:
        return type(value)(random.sample(value, random.randrange(len(value))))
    return odd_value(random)


def _plain(value: Any) -> bool:
    try:
        json.loads(written(value[1] if isinstance(value, list) and len(value) == 2 else value))
    except (ValueError, RecursionError):
        return False
    return True


def _places(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[Any, int, str]]:
    if depth > 50:
        return
    for index, entry in enumerate(value if isinstance(value, list) else ()):
        name, inner = entry if isinstance(value, Object) else (index, entry)
        here = f"{path}.{name!s:.30}" if path else f"{name!s:.30}"
        yield value, index, here
        yield from _places(inner, here, depth + 1)
