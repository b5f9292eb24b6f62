"""Ctrl-C, SIGTERM and SIGHUP: the first signal ends the work cleanly, and those that follow it are ignored."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import NamedTuple

from . import streams

INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_S = 3.0
"""Seconds for a clean end. A second Ctrl-C within this time is ignored; a later one ends the program at once."""

_AGAIN = 0.02
"""Seconds until a lost interruption is raised again."""


class Interruption(KeyboardInterrupt):
    """The exception that a signal raises.

    It is not KeyboardInterrupt itself: if that passes through `exec`, as during the creation of a dataclass, CPython
    ends by SIGINT even if the exception is handled (`unhandled_keyboard_interrupt` in its pythonrun.c).
    """


class _First(NamedTuple):
    number: int
    time: float


_first: _First | None = None
"""The signal that ends this process. It is global because signal handlers can only store state globally."""


def listen() -> None:
    """Make the first signal raise an `Interruption`, wherever the main thread is.

    Signals that are ignored, like SIGHUP under nohup, stay ignored.
    """
    sys.unraisablehook = _unraisable
    sys.excepthook = _uncaught
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _arrived)


def ignore() -> None:
    """Ignore all further signals, because only the exit is left."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def arrived() -> bool:
    """Whether a signal has ended the work."""
    return _first is not None


def exit_code() -> int:
    """The exit code of a process that the first signal ended."""
    return INTERRUPTED if _first is None else 128 + _first.number


def _arrived(number: int, frame: FrameType | None) -> None:
    global _first  # noqa: PLW0603
    now = time.monotonic()
    if _first is None:
        _first = _First(number, now)
        raise Interruption
    if now - _first.time >= _GRACE_S:
        streams.show_cursor()
        os._exit(exit_code())


def _again(number: int, frame: FrameType | None) -> None:
    raise Interruption


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    """Raise an interruption again a little later if Python could not pass it on, as in a destructor."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    signal.signal(signal.SIGALRM, _again)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)


def _uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print no traceback for an interruption that nothing has caught."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
