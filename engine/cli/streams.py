"""Makes the standard streams usable and safe, whatever state the shell left them in."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, TextIO

from ..text.printable import printable

if TYPE_CHECKING:
    from ..errors import OutputError

_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


MAX_COLUMNS = 10_000
"""Maximum width in columns that is accepted from the environment: more than any terminal has. It is limited because
text is padded to the width."""

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class PrintableStream:
    """A stream that makes everything printed to it printable, including warnings and tracebacks.

    Rich consoles control the terminal and make their text printable themselves, so they bypass it and write to
    `rich_proxied_file`, a name that rich looks for.
    """

    def __init__(self, stream: IO[str]) -> None:
        """Print to `stream`."""
        self._stream = stream
        self.rich_proxied_file = ConsoleStream(stream)

    def write(self, text: str) -> int:
        """Write `text`, made printable."""
        self._stream.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write `lines`, made printable."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (any attribute of the stream)
        return getattr(self._stream, name)


class ConsoleStream:
    """A stream for consoles. It remembers whether the cursor is hidden."""

    def __init__(self, stream: IO[str]) -> None:
        """Print to `stream`."""
        self._stream = stream
        self._is_hidden = False

    def write(self, text: str) -> int:
        """Write `text` as it is."""
        hidden, shown = text.rfind(_HIDE_CURSOR), text.rfind(_SHOW_CURSOR)
        if hidden != shown:
            self._is_hidden = hidden > shown
        return self._stream.write(text)

    def show_cursor(self) -> None:
        """Show the cursor again if the code that hid it was interrupted."""
        if self._is_hidden:
            self._is_hidden = False
            # Bypasses the stream, which may be in the middle of a write.
            with suppress(OSError):
                os.write(self._stream.fileno(), _SHOW_CURSOR.encode())

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (any attribute of the stream)
        return getattr(self._stream, name)


def prepare() -> None:
    """Make all three streams usable: UTF-8 in any locale, /dev/null if closed, and a sensible width.

    From now on, text for a terminal is made printable, and so is everything on stderr, which is always for people. Data
    for a file or another program stay unchanged.
    """
    for name in ("COLUMNS", "LINES"):
        size = os.environ.get(name, "")
        if size and not (size.isascii() and size.isdecimal() and 0 < int(size[:9]) <= MAX_COLUMNS):
            # Without it, the terminal is asked.
            del os.environ[name]
    for name, mode in _MODES.items():
        stream = getattr(sys, name)
        if stream is None:
            # The closed stream's descriptor is the lowest free one. Left free, the next file opened here or in a child
            # process would get it, and everything that is printed.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  (open until the process ends)
            os.set_inheritable(getattr(sys, name).fileno(), True)
        elif isinstance(stream, io.TextIOWrapper) and name == "stdin":
            stream.reconfigure(encoding="utf-8-sig", errors="strict")
        elif isinstance(stream, io.TextIOWrapper):
            # Invalid Unicode (a lone surrogate in an argument) is written as an escape, which JSON reads back.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, PrintableStream) and (name == "stderr" or stream.isatty()):
            setattr(sys, name, PrintableStream(stream))


def show_cursor() -> None:
    """Show the cursor again if a console has hidden it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, PrintableStream):
            stream.rich_proxied_file.show_cursor()


def say(message: str) -> None:
    """Print `message` on stderr; ignore it if that fails.

    Lines after the first are indented, so that none of them looks like a separate message.
    """
    with suppress(OSError):
        print(message.replace("\n", "\n  "), file=sys.stderr, flush=True)


def tell_warnings() -> None:
    """From now on, print warnings about old names on one line; other warnings are shown as usual."""
    show_others = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if category.__name__ == "RenamedWarning":  # whose module would import torch
            say(f"warning: {message}")
        else:
            show_others(message, category, filename, lineno, file, line)

    warnings.showwarning = show


def flush() -> None:
    """Flush stdout while errors can still be reported.

    Raises:
        OSError: It cannot be written; the buffered output is dropped.
    """
    try:
        sys.stdout.flush()
    except OSError:
        drop_stdout()
        raise


def drop_stdout() -> None:
    """Drop output that could not be written; Python would otherwise try again at exit, and complain."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        sys.stdout.flush()


def is_broken_pipe(error: OSError) -> bool:
    """Whether the reader of the output has gone, like `head`, which is not an error."""
    return error.errno == errno.EPIPE and error.filename is None


def as_output_error(error: OSError) -> OutputError:
    """`error` as an `OutputError` with the name of the file; an error without a file name came from stdout."""
    from ..errors import OutputError

    reason = " ".join((error.strerror or str(error)).split())
    if error.filename is not None:
        return OutputError(f"{os.fsdecode(error.filename)}: {reason}")
    written = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
    return OutputError(f"stdout: {reason}" if written else reason)
