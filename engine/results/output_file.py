"""Writes files completely or not at all, and never over a file that marcot did not write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path

from ...model.files import atomic_file
from ..errors import InputError, OutputError

HEAD_BYTES = 1024
"""How many bytes of a file are read to recognise its kind."""

Recognise = Callable[[bytes], bool]
"""A function that returns whether a file is of the kind to be written, given its first `HEAD_BYTES` bytes (or all)."""


def check_replaceable(path: Path, is_ours: Recognise, kind: str, advice: str) -> None:
    """Check that `path` has no file, an empty one, or one that marcot wrote.

    Args:
        path: Where to write a file.
        is_ours: Recognises files that marcot wrote.
        kind: The kind of these files, for the message: "a tree of marcot search".
        advice: What to do instead, for the message.

    Raises:
        InputError: There is a file of another kind, or it cannot be read.
    """
    try:
        if not path.exists():
            return
        if not path.is_file():
            raise InputError(f"{path}: is not a regular file; {advice}")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if head and not is_ours(head):
        raise InputError(f"{path}: exists and is not {kind}; {advice}")


def write_output(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Put `content`, or its parts one after the other, at `path`; see `write_outputs`.

    Raises:
        OutputError: It cannot be written; an older file is unchanged.
    """
    write_outputs({path: content})


def write_outputs(files: Mapping[Path, bytes | Iterable[bytes]]) -> None:
    """Put each content at its path; see `marcot.model.files.atomic_file`.

    Raises:
        OutputError: One of them cannot be written; all older files are unchanged.
    """
    try:
        atomic_file.write_all_atomically(files)
    except OSError as error:
        raise OutputError(f"{error.filename}: cannot be written: {error.strerror}") from error


def append_all(file: FileIO, data: bytes) -> None:
    """Append `data` to an open file, all of it or nothing.

    Raises:
        OSError: It cannot be written. A file on disk is as it was before.
    """
    end = file.seek(0, os.SEEK_END) if file.seekable() else None
    try:
        while data:
            data = data[file.write(data) :]
    except OSError:
        if end is not None:
            with suppress(OSError):  # a device cannot be cut back
                file.truncate(end)
        raise


def is_same_file(one: Path, other: Path | None) -> bool:
    """Whether two paths name the same file, also through links, or would if it existed."""
    if other is None:
        return False
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)
