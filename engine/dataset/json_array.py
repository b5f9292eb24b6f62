"""Read a JSON array from a file, one element at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_STRUCTURE = re.compile(rb'["\\\[\]{},]')
_CHUNK = 1 << 20


class Element(NamedTuple):
    """An element of the array.

    Attributes:
        offset: Offset of its first byte in the file.
        data: Its bytes, including surrounding whitespace.
    """

    offset: int
    data: bytes


def read_elements(file: BinaryIO) -> Iterator[Element]:
    """Yield the elements of the array in `file`, holding at most one element and one chunk in memory.

    Only brackets, commas and strings are examined; parsing an element shows whether it is valid JSON.

    Raises:
        EOFError: The file ends before the array does.
        ValueError: There is more data after the array.
    """
    depth, in_string, skip = 0, False, -1
    start = position = file.tell()
    element = bytearray()
    while chunk := file.read(_CHUNK):
        for match in _STRUCTURE.finditer(chunk):
            sign, here = match[0], position + match.start()
            if here == skip:
                continue
            if in_string:
                skip = here + 1 if sign == b"\\" else -1
                in_string = sign != b'"'
            elif sign == b'"':
                in_string = True
            elif sign in b"[{":
                depth += 1
                if depth == 1:
                    start, element = here + 1, bytearray()
            elif depth == 1 and sign in b",]":
                data = bytes(element) + chunk[max(start - position, 0) : match.start()]
                if data.strip() or sign == b",":
                    yield Element(start, data)
                start, element = here + 1, bytearray()
                if sign == b"]":
                    _check_end(chunk[match.end() :], file)
                    return
            elif sign in b"]}":
                depth -= 1
        element += chunk[max(start - position, 0) :]
        position += len(chunk)
    raise EOFError


def _check_end(rest: bytes, file: BinaryIO) -> None:
    while not rest.strip():
        rest = file.read(_CHUNK)
        if not rest:
            return
    raise ValueError("has more text after the end of the array")
