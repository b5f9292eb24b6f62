"""An append-only file that keeps a digest of what was written to it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

_BLOCK = 2**20


class FileMark(NamedTuple):
    """Size and digest of a file at one moment.

    Attributes:
        size: Size in bytes.
        sha256: Hexadecimal digest of these bytes.
    """

    size: int
    sha256: str


class AppendOnlyFile:
    """A file that is only appended to; it can be reopened and truncated at an earlier `FileMark`."""

    def __init__(self, path: Path) -> None:
        """Create `path`, or empty it if it exists."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("wb")
        self._digest = hashlib.sha256()

    @classmethod
    def cut_back(cls, path: Path, mark: FileMark) -> AppendOnlyFile | None:
        """Open `path` at `mark` without truncating it; None if its bytes up to there no longer match."""
        digest = hashlib.sha256()
        left = mark.size
        file = path.open("r+b")
        while left and (block := file.read(min(left, _BLOCK))):
            digest.update(block)
            left -= len(block)
        if left or digest.hexdigest() != mark.sha256:
            file.close()
            return None
        found = cls.__new__(cls)
        found._file, found._digest = file, digest
        return found

    def drop_rest(self) -> None:
        """Truncate the file at the current position."""
        self._file.truncate(self._file.tell())

    def append(self, data: bytes) -> None:
        """Append `data`."""
        self._file.write(data)
        self._digest.update(data)

    def sync(self) -> FileMark:
        """Sync the file to disk, and return its mark."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return FileMark(self._file.tell(), self._digest.hexdigest())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
