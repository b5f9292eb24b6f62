"""Keeping a second run away from a file."""

from __future__ import annotations

import fcntl
from typing import BinaryIO

from ..errors import InputError


def lock(file: BinaryIO, refusal: str) -> None:
    """Lock `file` until it is closed, or the process ends in whatever way.

    Raises:
        InputError: Another run has locked it (the message is `refusal`), or nothing can be locked there; `file` is
            closed.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise InputError(refusal) from error
    except OSError as error:
        file.close()
        raise InputError(f"{file.name}: cannot be locked, which keeps two runs apart: {error.strerror}") from error
