"""The cache of built libraries. A library is loaded only if it is intact and no other user could have written it.

The name of a library ends in a hash of its contents, so a truncated, overwritten or replaced file is detected before it
is mapped; accessing a missing page of a mapped file would kill the process by a signal. Nobody else can replace the
file between this check and loading it, because the owners and permissions of the file and of all folders above it are
checked too.
"""

from __future__ import annotations

import errno
import grp
import hashlib
import os
import pwd
import stat
import tempfile
from pathlib import Path

from ..user_cache import user_cache

_FOR_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_TRUSTED = 0o755


def cache_folder() -> Path:
    """Return the folder of built libraries, in the user's cache directory or else in the temporary directory.

    It may not exist yet. Symbolic links in the path are resolved, so that all later checks see the same folders.

    Raises:
        OSError: Neither directory exists.
    """
    ours = user_cache() or Path(tempfile.gettempdir(), f"marcot-{os.geteuid()}")
    return Path(os.path.realpath(ours / "kernels"))


def find(folder: Path, name: str) -> Path | None:
    """Return the path of the library `name` in `folder`; None if none is intact and safe from other users."""
    if not _is_own(folder) or _exchanger(folder) is not None:
        return None
    return next((file for file in sorted(folder.glob(f"{name}-*.so")) if _is_intact(file, name)), None)


def keep(library: Path, folder: Path, name: str) -> Path:
    """Move `library` atomically to `folder`, on the same disk, as `name`; return its new path.

    Raises:
        OSError: The move failed, for example because the disk is full.
    """
    library.chmod(_TRUSTED)
    with library.open("rb") as file:
        os.fsync(file.fileno())
    return library.replace(folder / _file_name(name, library))


def make_private(folder: Path) -> None:
    """Create `folder` if it is missing, and remove write permission for group and others.

    Raises:
        PermissionError: Another user could replace files in it.
        OSError: It cannot be created, or the path is not a folder.
    """
    for path in (*reversed(folder.parents), folder):
        if not path.is_dir():
            path.mkdir(mode=_TRUSTED, exist_ok=True)
    about = folder.stat()
    if about.st_uid == os.geteuid() and about.st_mode & _FOR_OTHERS:
        folder.chmod(stat.S_IMODE(about.st_mode) & ~_FOR_OTHERS)
    if not _is_own(folder):
        raise PermissionError(errno.EPERM, "it belongs to another user")
    exchanger = _exchanger(folder)
    if exchanger is not None:
        raise PermissionError(errno.EPERM, f"others may write to {exchanger}")


def _is_own(path: Path) -> bool:
    """Whether only this user or root can write to `path`."""
    try:
        about = path.stat()
    except OSError:
        return False
    return about.st_uid in (os.geteuid(), 0) and not about.st_mode & _FOR_OTHERS


def _exchanger(folder: Path) -> Path | None:
    """Return the nearest folder above `folder` in which other users could rename or replace entries; None if none."""
    return next((parent for parent in folder.parents if not _keeps_names(parent)), None)


def _keeps_names(folder: Path) -> bool:
    """Whether only this user or root can rename this user's entries in `folder`."""
    try:
        about = folder.stat()
    except OSError:
        return False
    others = stat.S_IWOTH if _is_private(about.st_gid) else _FOR_OTHERS
    return about.st_uid in (os.geteuid(), 0) and (not about.st_mode & others or bool(about.st_mode & stat.S_ISVTX))


def _is_private(group: int) -> bool:
    """Whether this user is the only member of `group`: many systems create a group per user, with write permission."""
    try:
        user, about = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return about.gr_name == user and set(about.gr_mem) <= {user}


def _is_intact(file: Path, name: str) -> bool:
    """Whether `file` is a regular file of this user, and its contents match the hash in its name."""
    try:
        return stat.S_ISREG(file.lstat().st_mode) and _is_own(file) and file.name == _file_name(name, file)
    except OSError:
        return False


def _file_name(name: str, library: Path) -> str:
    return f"{name}-{hashlib.sha256(library.read_bytes()).hexdigest()[:20]}.so"
