"""Standard streams, as a user's shell may have left them."""

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
"""More than any terminal has; what is that wide is padded with so many blanks."""

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class PrintableStream:
    """A stream that makes printable what is printed to it by whatever, warnings and tracebacks included.

    Consoles of rich, which command the terminal and see to their text themselves, write past it to
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

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever the stream has)
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
        """Show the cursor again, if whoever hid it was stopped before it could."""
        if self._is_hidden:
            self._is_hidden = False
            # Not through the stream, which may be in the middle of a write.
            with suppress(OSError):
                os.write(self._stream.fileno(), _SHOW_CURSOR.encode())

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever the stream has)
        return getattr(self._stream, name)


def prepare() -> None:
    """Make all three usable: UTF-8 whatever the locale says, nowhere where they are closed, and of a sensible size.

    What goes to a terminal is made printable from now on, and so is all of stderr, which is for people wherever it
    goes; data on their way to a file or a program stay as they are.
    """
    for name in ("COLUMNS", "LINES"):
        size = os.environ.get(name, "")
        if size and not (size.isascii() and size.isdecimal() and 0 < int(size[:9]) <= MAX_COLUMNS):
            # Then the terminal is asked.
            del os.environ[name]
    for name, mode in _MODES.items():
        stream = getattr(sys, name)
        if stream is None:
            # Its number is the lowest that is free. Left free, the next file would have it, and get what is printed;
            # so it would in a program that is started from here.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  (for as long as it runs)
            os.set_inheritable(getattr(sys, name).fileno(), True)
        elif isinstance(stream, io.TextIOWrapper) and name == "stdin":
            stream.reconfigure(encoding="utf-8-sig", errors="strict")
        elif isinstance(stream, io.TextIOWrapper):
            # What is no valid Unicode (a lone surrogate in an argument) is written as an escape, which JSON reads back.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, PrintableStream) and (name == "stderr" or stream.isatty()):
            setattr(sys, name, PrintableStream(stream))


def show_cursor() -> None:
    """Show the cursor again where a console has hidden it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, PrintableStream):
            stream.rich_proxied_file.show_cursor()


def say(message: str) -> None:
    """Print `message` on stderr; if that cannot be written, nobody reads it, and the work goes on.

    Where it has several lines, the others are set in, so that none of them can pass for a message of its own.
    """
    with suppress(OSError):
        print(message.replace("\n", "\n  "), file=sys.stderr, flush=True)


def tell_warnings() -> None:
    """From now on say in a line what was given by an earlier name; other warnings stay as Python shows them."""
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
