"""Folders to build in."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "building-"
_SPARE_PREFIX = "marcot-kernels-"


@contextmanager
def build_folder(folder: Path) -> Iterator[Path]:
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


def temporary_folder() -> Path:
    """A fresh folder for temporary files that goes when this process ends; those of killed processes go now.

    Raises:
        OSError: None can be made.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_SPARE_PREFIX}*"):
        with suppress(OSError):
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
    folder = _locked_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _locked_folder() -> Path:
    """A fresh folder for temporary files, locked for as long as this process lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_SPARE_PREFIX))
        with suppress(OSError):
            fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_SH)
        if folder.exists():  # otherwise another process took it for a leftover before it was locked
            return folder
