"""Files that are written whole or not at all, and never over a file of somebody else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ...model.files import atomic_file
from ..errors import InputError, OutputError

HEAD_BYTES = 1024
"""How much of a file is looked at to recognise it."""

Recognise = Callable[[bytes], bool]
"""Whether a file that begins with these bytes (`HEAD_BYTES`, or all) is of the kind that is to be written."""


def check_replaceable(path: Path, is_ours: Recognise, kind: str, advice: str) -> None:
    """Check that nothing is at `path`, or an empty file, or one that marcot wrote there.

    Args:
        path: Where a file is to go.
        is_ours: Recognises what marcot wrote.
        kind: What it wrote, for the message: "a tree of marcot search".
        advice: What else to do, for the message.

    Raises:
        InputError: There is something else, or it cannot be looked at.
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
        raise InputError(f"{path}: is there already and is not {kind}; {advice}")


def write_output(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Put `content`, or its parts one after the other, at `path`; see `write_outputs`.

    Raises:
        OutputError: It cannot be written; what was there is there still.
    """
    write_outputs({path: content})


def write_outputs(files: Mapping[Path, bytes | Iterable[bytes]]) -> None:
    """Put each content at its path; see `marcot.model.files.atomic_file`.

    Raises:
        OutputError: One cannot be written; what was there is there still, in all places.
    """
    try:
        atomic_file.write_all_atomically(files)
    except OSError as error:
        raise OutputError(f"{error.filename}: cannot be written: {error.strerror}") from error


def is_same_file(one: Path, other: Path | None) -> bool:
    """Whether two paths name the same file, by whatever links, or would if it were there."""
    if other is None:
        return False
    try:
        return one.samefile(other)
    except OSError:
        return one.absolute() == other.absolute()
