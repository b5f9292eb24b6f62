"""A strict JSON reader with bounds on size and depth; all untrusted JSON is read with it."""

from __future__ import annotations

import json
import math
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

MAX_DEPTH = 200
"""Maximum nesting of lists and objects; limited because values that were read are written again, nested deeper."""

MAX_BYTES = 2**29
"""Maximum size in bytes: far above any tree or result of a search, but too small to exhaust a machine's memory."""

_BLOCK = 2**20


class RefusedError(ValueError):
    """The text is JSON but is refused; text that is not JSON raises another `ValueError`."""


def parse(text: str | bytes, max_bytes: int = MAX_BYTES, *, whole: bool = False) -> Any:  # noqa: ANN401  (any JSON value)
    """Read untrusted JSON.

    Args:
        text: A text, or bytes in UTF-8; a byte order mark is ignored.
        max_bytes: Maximum size in bytes.
        whole: Whether a number such as `16.0` becomes an integer, which it is in JSON Schema.

    Raises:
        ValueError: It is not JSON, or not UTF-8. The message is a predicate, to follow the name of a file.
        RefusedError: It is too long or nested too deeply, repeats a key of an object, or has a number that is not
            finite or an integer of thousands of digits. The message is a predicate, too.
    """
    if len(text) > max_bytes:
        raise RefusedError(f"is larger than {max_bytes >> 20} MiB, which no such file needs")
    try:
        value = (_WHOLE_DECODER if whole else _DECODER).decode(
            text if isinstance(text, str) else text.decode("utf-8-sig")
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start})") from None
    except RecursionError:
        raise RefusedError("is nested too deeply") from None
    except RefusedError:
        raise
    except ValueError:
        raise RefusedError("has an integer of too many digits") from None
    if is_deep(value):
        raise RefusedError("is nested too deeply")
    return value


def content(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of the file `path`; of a longer or endless file, only slightly more than `max_bytes`.

    Raises:
        OSError: The file cannot be read.
    """
    blocks: list[bytes] = []
    left = max_bytes + 1
    with path.open("rb") as file:
        while left > 0 and (block := file.read(_BLOCK)):
            blocks.append(block)
            left -= len(block)
    return b"".join(blocks)


def read(path: Path, max_bytes: int = MAX_BYTES) -> Any:  # noqa: ANN401  (any JSON value)
    """`parse` the content of the file `path`.

    Raises:
        OSError: The file cannot be read.
        ValueError: As in `parse`.
    """
    return parse(content(path, max_bytes), max_bytes)


def is_deep(value: object, depth: int = MAX_DEPTH) -> bool:
    """Whether lists and objects in `value` are nested more than `depth` deep."""
    level = [value] if isinstance(value, dict | list | tuple) else []
    for _ in range(depth):
        if not level:
            return False
        entries = chain.from_iterable(each.values() if isinstance(each, dict) else each for each in level)
        level = [entry for entry in entries if isinstance(entry, dict | list | tuple)]
    return bool(level)


def finite(value: object) -> object:
    """`value` (dicts, lists and scalars, at most `MAX_DEPTH` deep) with None for numbers that are not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise RefusedError(f"has the number {digits:.40}, which is too large")
    return number


def _whole_number(digits: str) -> float | int:
    number = _number(digits)
    return int(number) if number.is_integer() else number


def _constant(name: str) -> NoReturn:
    raise RefusedError(f"has {name}, which is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise RefusedError(f"has {twice!r:.80} twice in one object")
    return entries


_DECODER, _WHOLE_DECODER = (
    json.JSONDecoder(parse_float=number, parse_constant=_constant, object_pairs_hook=_object)
    for number in (_number, _whole_number)
)
