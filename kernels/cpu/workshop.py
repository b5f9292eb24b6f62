"""Folders to build in."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "building-"


@contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """A fresh folder in `folder`, for as long as the block lasts; what killed builders have left is removed first.

    Whoever builds shares a lock on `folder`, which goes with the process. So if it can be had alone, nobody builds.
    Where directories cannot be locked alone, as on NFS, what is left stays.

    Raises:
        OSError: No folder can be made there.
    """
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in folder.glob(f"{_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder, ignore_cleanup_errors=True) as place:
            yield Path(place)
    finally:
        os.close(lock)
