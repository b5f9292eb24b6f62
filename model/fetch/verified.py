"""Whether a file still has the bytes whose hash was checked: hashing a gigabyte at every start would take seconds."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from ..files.atomic_file import write_atomically


def holds(file: Path, sha256: str) -> bool:
    """Whether the bytes of `file` have the hash `sha256`, hexadecimal.

    They are read only if that was not checked before, or the file has changed since: its size, its times or its place
    on the disk. What was checked is noted beside it, where that can be written.
    """
    before = _identity(file, sha256)
    with suppress(OSError):
        if note_of(file).read_bytes() == before:
            return True
    with file.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != sha256:
            return False
    if _identity(file, sha256) == before:  # nobody wrote to it meanwhile
        note_verified(file, sha256)
    return True


def note_verified(file: Path, sha256: str) -> None:
    """Note beside `file` that it was checked, unless that cannot be written."""
    with suppress(OSError):
        write_atomically(note_of(file), _identity(file, sha256))


def note_of(file: Path) -> Path:
    """Where it is noted that `file` was checked."""
    return file.with_name(f"{file.name}.verified")


def _identity(file: Path, sha256: str) -> bytes:
    about = os.stat(file)
    return f"{sha256} {about.st_size} {about.st_mtime_ns} {about.st_ctime_ns} {about.st_ino}\n".encode()
