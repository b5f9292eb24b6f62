"""Locks a file against a second run."""

from __future__ import annotations

import fcntl
from typing import BinaryIO

from ..errors import InputError


def lock(file: BinaryIO, refusal: str) -> None:
    """Lock `file` until it is closed or the process ends.

    Raises:
        InputError: Another run has locked it (the message is `refusal`), or its file system has no locks; `file` is
            then closed.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise InputError(refusal) from error
    except OSError as error:
        file.close()
        raise InputError(f"{file.name}: cannot be locked against a second run: {error.strerror}") from error
