"""Checks a file's hash only once and then only its status, because hashing a gigabyte at every start takes seconds."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from ..files.atomic_file import write_atomically


def holds(file: Path, sha256: str) -> bool:
    """Whether the bytes of `file` have the hash `sha256`, hexadecimal.

    The file is read only if it was not checked before, or if its size, its times or its inode have changed since. A
    note beside the file records the check, if it can be written.
    """
    before = _identity(file, sha256)
    with suppress(OSError):
        if note_of(file).read_bytes() == before:
            return True
    with file.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != sha256:
            return False
    if _identity(file, sha256) == before:  # the file did not change meanwhile
        note_verified(file, sha256)
    return True


def note_verified(file: Path, sha256: str) -> None:
    """Record beside `file` that it was checked, unless the note cannot be written."""
    with suppress(OSError):
        write_atomically(note_of(file), _identity(file, sha256))


def note_of(file: Path) -> Path:
    """The note that records that `file` was checked."""
    return file.with_name(f"{file.name}.verified")


def _identity(file: Path, sha256: str) -> bytes:
    about = os.stat(file)
    return f"{sha256} {about.st_size} {about.st_mtime_ns} {about.st_ctime_ns} {about.st_ino}\n".encode()
