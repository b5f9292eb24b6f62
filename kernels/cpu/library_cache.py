"""Libraries that were built before: whole and our own, or not loaded.

A library's name ends in the hash of its contents. So a file that was cut short, overwritten or exchanged is found out
before it is mapped, where its missing pages would end the process by a signal.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from pathlib import Path

_FOR_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_TRUSTED = 0o755


def cache_folder() -> Path:
    """Return `marcot/kernels` in the user's cache directory; it need not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path("~/.cache").expanduser()) / "marcot" / "kernels"
    except RuntimeError:  # neither HOME nor a user of this number, as in a container that runs as any
        return Path(tempfile.gettempdir(), f"marcot-{os.geteuid()}", "kernels")


def find(folder: Path, name: str) -> Path | None:
    """Return the library `name` in `folder`; None where there is none that is whole and written by this user alone."""
    if not _is_own(folder):
        return None
    return next((file for file in sorted(folder.glob(f"{name}-*.so")) if _is_intact(file, name)), None)


def keep(library: Path, folder: Path, name: str) -> Path:
    """Move `library`, from a folder on the same disk, to `folder` as `name`, whole or not at all; return its new path.

    Raises:
        OSError: The disk is full, say.
    """
    library.chmod(_TRUSTED)
    with library.open("rb") as file:
        os.fsync(file.fileno())
    return library.replace(folder / _file_name(name, library))


def make_own(folder: Path) -> None:
    """Make `folder`, if it is missing, and keep others from writing to it.

    Raises:
        PermissionError: It belongs to another user, who could exchange what is in it.
        OSError: It cannot be made, or something else is in its place.
    """
    folder.mkdir(mode=_TRUSTED, parents=True, exist_ok=True)
    about = folder.stat()
    if about.st_uid == os.geteuid() and about.st_mode & _FOR_OTHERS:
        folder.chmod(stat.S_IMODE(about.st_mode) & ~_FOR_OTHERS)
    if not _is_own(folder):
        raise PermissionError(errno.EPERM, "it belongs to another user")


def _is_own(path: Path) -> bool:
    """Whether nobody but this user, or root, can have written to `path`."""
    try:
        about = path.stat()
    except OSError:
        return False
    return about.st_uid in (os.geteuid(), 0) and not about.st_mode & _FOR_OTHERS


def _is_intact(file: Path, name: str) -> bool:
    """Whether `file` holds what its name says."""
    try:
        return stat.S_ISREG(file.lstat().st_mode) and _is_own(file) and file.name == _file_name(name, file)
    except OSError:
        return False


def _file_name(name: str, library: Path) -> str:
    return f"{name}-{hashlib.sha256(library.read_bytes()).hexdigest()[:20]}.so"
