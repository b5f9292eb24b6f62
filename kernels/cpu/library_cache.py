"""Libraries that were built before: whole and our own, or not loaded.

A library's name ends in the hash of its contents. So a file that was cut short, overwritten or exchanged is found out
before it is mapped, where its missing pages would end the process by a signal. That nobody exchanges it between that
look and the loading follows from whose it is, and whose the folders above it are.
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
    """Return `marcot/kernels` in the user's cache directory, or else in that for temporary files; it may not exist yet.

    The path is free of links, so that all who look at it look at the same.

    Raises:
        OSError: There is neither.
    """
    ours = user_cache() or Path(tempfile.gettempdir(), f"marcot-{os.geteuid()}")
    return Path(os.path.realpath(ours / "kernels"))


def find(folder: Path, name: str) -> Path | None:
    """Return the library `name` in `folder`; None where there is none that is whole and written by this user alone."""
    if not _is_own(folder) or _exchanger(folder) is not None:
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


def make_private(folder: Path) -> None:
    """Make `folder`, if it is missing, and keep others from writing to it.

    Raises:
        PermissionError: Another user could exchange what is in it.
        OSError: It cannot be made, or something else is in its place.
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
    """Whether nobody but this user, or root, can have written to `path`."""
    try:
        about = path.stat()
    except OSError:
        return False
    return about.st_uid in (os.geteuid(), 0) and not about.st_mode & _FOR_OTHERS


def _exchanger(folder: Path) -> Path | None:
    """The first folder above `folder` where others could put something else in its place; None if there is none."""
    return next((parent for parent in folder.parents if not _keeps_names(parent)), None)


def _keeps_names(folder: Path) -> bool:
    """Whether nobody but this user, or root, can rename what is this user's in `folder`."""
    try:
        about = folder.stat()
    except OSError:
        return False
    others = stat.S_IWOTH if _is_private(about.st_gid) else _FOR_OTHERS
    return about.st_uid in (os.geteuid(), 0) and (not about.st_mode & others or bool(about.st_mode & stat.S_ISVTX))


def _is_private(group: int) -> bool:
    """Whether `group` is this user's alone: many systems make one for each user, who lets it write everywhere."""
    try:
        user, about = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return about.gr_name == user and set(about.gr_mem) <= {user}


def _is_intact(file: Path, name: str) -> bool:
    """Whether `file` holds what its name says."""
    try:
        return stat.S_ISREG(file.lstat().st_mode) and _is_own(file) and file.name == _file_name(name, file)
    except OSError:
        return False


def _file_name(name: str, library: Path) -> str:
    return f"{name}-{hashlib.sha256(library.read_bytes()).hexdigest()[:20]}.so"
