"""What is written beside its final place and then moved there, and what of it killed processes leave."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path

_BYTES = 4


@contextmanager
def working_name(final: Path) -> Iterator[Path]:
    """A new name beside `final`, for a file or a folder that is to be moved there before the block ends.

    What killed processes have left under such names is removed first. Whoever writes shares a lock on the parent
    folder, which goes with the process; so if it can be had alone, nobody writes. Where folders cannot be locked, as
    on NFS, or somebody else holds the lock, what is left stays.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            lock = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, lock)
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_left(final)
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # not to wait: `flock . marcot ...` would for ever
        yield final.with_name(f".{final.name}.{secrets.token_hex(_BYTES)}")


def _remove_left(final: Path) -> None:
    for left in final.parent.glob(f".{escape(final.name)}.{'[0-9a-f]' * 2 * _BYTES}"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink()
