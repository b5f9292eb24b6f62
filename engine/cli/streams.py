"""Standard streams, as a user's shell may have left them."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..errors import OutputError

_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


MAX_COLUMNS = 10_000
"""More than any terminal has; what is that wide is padded with so many blanks."""


def prepare() -> None:
    """Make all three usable: UTF-8 whatever the locale says, nowhere where they are closed, and of a sensible size."""
    for name in ("COLUMNS", "LINES"):
        size = os.environ.get(name, "")
        if size and not (size.isascii() and size.isdecimal() and 0 < int(size[:9]) <= MAX_COLUMNS):
            # Then the terminal is asked.
            del os.environ[name]
    for name, mode in _MODES.items():
        stream = getattr(sys, name)
        if stream is None:
            # Its number is the lowest that is free. Left free, the next file would have it, and get what is printed.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  (for as long as it runs)
        elif isinstance(stream, io.TextIOWrapper) and name == "stdin":
            stream.reconfigure(encoding="utf-8-sig", errors="strict")
        elif isinstance(stream, io.TextIOWrapper):
            # What is no valid Unicode (a lone surrogate in an argument) is written as an escape, which JSON reads back.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def say(message: str) -> None:
    """Print `message` on stderr; if that cannot be written, nobody reads it, and the work goes on."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def flush() -> None:
    """Write what is still kept for stdout, while an error can be told.

    Raises:
        OSError: It cannot be written; it is dropped.
    """
    try:
        sys.stdout.flush()
    except OSError:
        drop_stdout()
        raise


def drop_stdout() -> None:
    """Forget what could not be written, which Python would try again, and complain about, at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        sys.stdout.flush()


def is_broken_pipe(error: OSError) -> bool:
    """Whether the reader of the output went away, as `head` does, which is no error."""
    return error.errno == errno.EPIPE and error.filename is None


def as_output_error(error: OSError) -> OutputError:
    """`error` in words. What writes files says which; what is left without a name was printed."""
    from ..errors import OutputError

    reason = " ".join((error.strerror or str(error)).split())
    if error.filename is not None:
        return OutputError(f"{os.fsdecode(error.filename)}: {reason}")
    written = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
    return OutputError(f"stdout: {reason}" if written else reason)
