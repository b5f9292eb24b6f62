"""A file that only grows, and knows what was written to it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

_BLOCK = 2**20


class FileMark(NamedTuple):
    """Where a file was at one moment, and what it held up to there.

    Attributes:
        size: Bytes.
        sha256: Hexadecimal digest of them.
    """

    size: int
    sha256: str


class AppendOnlyFile:
    """A file that is appended to."""

    def __init__(self, path: Path) -> None:
        """Make `path`, or begin it anew."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("wb")
        self._digest = hashlib.sha256()

    @classmethod
    def cut_back(cls, path: Path, mark: FileMark) -> AppendOnlyFile | None:
        """Open `path` where `mark` was made; None if it does not hold that any more. Nothing is written yet."""
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
        """Let go of what follows."""
        self._file.truncate(self._file.tell())

    def append(self, data: bytes) -> None:
        """Write `data`."""
        self._file.write(data)
        self._digest.update(data)

    def sync(self) -> FileMark:
        """Wait until all is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return FileMark(self._file.tell(), self._digest.hexdigest())

    def close(self) -> None:
        """Close it."""
        self._file.close()
