"""Temporary names beside the final files, and removal of temporary files that killed processes left behind."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path

_BYTES = 4
_LONGEST = 200
"""Maximum bytes of the final name that a temporary name includes: most file systems allow 255 bytes in total."""


@contextmanager
def working_names(finals: Collection[Path]) -> Iterator[list[Path]]:
    """Temporary names beside `finals`, for files or folders that are moved to their final names before the block ends.

    Files that killed processes left under such names are removed first. Every writer holds a shared lock on the parent
    folder, which the system releases when the process ends; so if an exclusive lock succeeds, no process is writing. If
    folders cannot be locked, as on NFS, or another process holds the lock, old files stay.
    """
    with ExitStack() as stack:
        for folder in dict.fromkeys(final.parent for final in finals):
            with suppress(OSError):
                lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                stack.callback(os.close, lock)
                with suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    for final in finals:
                        if final.parent == folder:
                            _remove_left(final)
                # Without waiting: `flock . marcot ...` would wait forever.
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield [final.with_name(f".{_short(final)}.{secrets.token_hex(_BYTES)}") for final in finals]


def _remove_left(final: Path) -> None:
    for left in final.parent.glob(f".{escape(_short(final))}.{'[0-9a-f]' * 2 * _BYTES}"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink()


def _short(final: Path) -> str:
    return os.fsdecode(os.fsencode(final.name)[:_LONGEST])
