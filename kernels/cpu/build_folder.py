"""Temporary folders in which the kernels are built."""

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
    """Context manager: a new folder inside `folder`, deleted at the end. Leftovers of killed builds are deleted first.

    Every running build holds a shared lock on `folder`, which the system releases when the process ends. So whoever
    gets the exclusive lock knows that no build is running and that every build folder is a leftover. Where directories
    cannot be locked exclusively, as on NFS, leftovers stay.

    Raises:
        OSError: The folder cannot be created.
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
    """Return a new temporary folder, deleted when this process ends; first delete those that killed processes left.

    Raises:
        OSError: The folder cannot be created.
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
    """Return a new temporary folder that stays locked until this process ends."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_SPARE_PREFIX))
        with suppress(OSError):
            fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_SH)
        if folder.exists():  # if not, another process deleted it as a leftover before it was locked
            return folder
