"""Writes files completely or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from .working_file import working_names


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`; see `write_all_atomically`."""
    write_all_atomically({path: content})


def write_all_atomically(files: Mapping[Path, bytes | Iterable[bytes]]) -> None:
    """Write each content (bytes, or parts of them) to its path. A replaced file's owner and mode are kept.

    All contents are first written to temporary files beside their places, and synced. So if the disk is full, all old
    files are unchanged, and a reader always sees either the old or the new file.

    Raises:
        OSError: A file cannot be written; its path is the error's `filename`.
    """
    # The target of a link is replaced, not the link.
    targets = [Path(os.path.realpath(path)) for path in files]
    with ExitStack() as stack:
        fresh = stack.enter_context(working_names(targets))
        for beside in fresh:
            stack.callback(_remove, beside)
        for path, beside, target in zip(files, fresh, targets, strict=True):
            with _telling(path):
                _write(beside, files[path], target)
        for path, beside, target in zip(files, fresh, targets, strict=True):
            with _telling(path):
                beside.replace(target)
        for folder in {target.parent for target in targets}:
            sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk, if the file system supports that."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _write(beside: Path, content: bytes | Iterable[bytes], target: Path) -> None:
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    with beside.open("xb") as file:
        file.writelines([content] if isinstance(content, bytes) else content)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileNotFoundError):
        about = target.stat()
        # Without the right to change owners, the new file belongs to the current user.
        with suppress(PermissionError):
            os.chown(beside, about.st_uid, about.st_gid)
        shutil.copystat(target, beside)
        os.utime(beside)


def _remove(beside: Path) -> None:
    with suppress(OSError):
        beside.unlink()


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
