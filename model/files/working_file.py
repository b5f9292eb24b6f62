"""What is written beside its final place and then moved there, and what of it killed processes leave."""

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
"""Bytes of a final name that a working name has: 255 in all is what most file systems take."""


@contextmanager
def working_names(finals: Collection[Path]) -> Iterator[list[Path]]:
    """New names beside `finals`, for files or folders that are to be moved there before the block ends.

    What killed processes have left under such names is removed first. Whoever writes shares a lock on the parent
    folder, which goes with the process; so if it can be had alone, nobody writes. Where folders cannot be locked, as
    on NFS, or somebody else holds the lock, what is left stays.
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
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # not to wait: `flock . marcot ...` would for ever
        yield [final.with_name(f".{_short(final)}.{secrets.token_hex(_BYTES)}") for final in finals]


def _remove_left(final: Path) -> None:
    for left in final.parent.glob(f".{escape(_short(final))}.{'[0-9a-f]' * 2 * _BYTES}"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink()


def _short(final: Path) -> str:
    return os.fsdecode(os.fsencode(final.name)[:_LONGEST])
