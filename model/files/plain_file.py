"""Reads the files of a checkpoint, which are untrusted."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from ..errors import CheckpointError

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def is_there(path: Path) -> bool:
    """Whether `path` exists; False if that cannot be found out (a name too long, a folder without permission)."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def open_plain(file: Path) -> BufferedReader:
    """Open a regular file, without waiting for a pipe's other end or reading an endless device.

    Raises:
        CheckpointError: It cannot be opened, is not a regular file, or is the pointer that `git clone` leaves without
            Git LFS.
    """
    try:
        opened = os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        plain = stat.S_ISREG(os.fstat(opened.fileno()).st_mode)
        begin = opened.peek(len(_LFS_POINTER)) if plain else b""
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: cannot be read: {getattr(error, 'strerror', error)}") from error
    if plain and not begin.startswith(_LFS_POINTER):
        return opened
    opened.close()
    if plain:
        raise CheckpointError(
            f"{file}: is a Git LFS pointer, not the file itself: run 'git lfs install' and 'git lfs pull' in its folder"
        )
    raise CheckpointError(f"{file}: cannot be read: it is a pipe or a device, not a file")


def refuse_cut(file: Path, opened: os.stat_result) -> None:
    """Refuse a mapped file that is shorter than when it was `opened`: reading the missing part would crash the process.

    Raises:
        CheckpointError: It is shorter. If another file has taken its place, nothing is raised.
    """
    try:
        now = file.stat()
    except OSError:
        return
    if (now.st_dev, now.st_ino) == (opened.st_dev, opened.st_ino) and now.st_size < opened.st_size:
        raise CheckpointError(f"{file}: was truncated from {opened.st_size} to {now.st_size} bytes while it was read")


def read_plain(file: Path, most: int) -> bytes:
    """The content of a regular file.

    Args:
        file: The file.
        most: Maximum size in bytes.

    Raises:
        CheckpointError: As in `open_plain`, or the file is larger.
    """
    with open_plain(file) as opened:
        try:
            if os.fstat(opened.fileno()).st_size > most:  # checked before reading: a sparse file may claim any size
                raise CheckpointError(f"{file}: is larger than {most >> 20} MiB, which no such file needs")
            return opened.read(most)
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read: {error.strerror}") from error


def read_plain_text(file: Path, most: int) -> str:
    """The content of a regular file of UTF-8 text; see `read_plain`."""
    try:
        return str(read_plain(file, most), "utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{file}: cannot be read: not UTF-8 text: {error}") from error
