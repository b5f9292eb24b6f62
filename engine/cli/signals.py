"""Ctrl-C, SIGTERM and SIGHUP: the first one ends the work in good order, and those in its wake change nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import NamedTuple

from . import streams

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_S = 3.0
"""Seconds that the end may take. Who presses Ctrl-C twice in a row means once; who does so later need not wait."""

_AGAIN = 0.02
"""Seconds until an interruption that got lost is tried again."""


class Interruption(KeyboardInterrupt):
    """What a signal raises.

    Not KeyboardInterrupt itself: where that passes through `exec`, as in the making of a data class, CPython ends by
    SIGINT whatever is made of it (`unhandled_keyboard_interrupt` in its pythonrun.c).
    """


class _First(NamedTuple):
    number: int
    time: float


_first: _First | None = None
"""The signal that ends this process. There is one such process, and signals have no other place to leave a word."""


def listen() -> None:
    """From now on the first signal raises an `Interruption`, wherever the main thread is.

    Those that are ignored, as SIGHUP under nohup is, stay so.
    """
    sys.unraisablehook = _unraisable
    sys.excepthook = _uncaught
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _arrived)


def ignore() -> None:
    """From now on no signal changes anything: nothing is left but to exit."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def arrived() -> bool:
    """Whether a signal has ended the work."""
    return _first is not None


def exit_code() -> int:
    """That of a process which the first signal has ended."""
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
    """Where Python cannot pass an error on, as in a destructor, an interruption comes again a little later."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    signal.signal(signal.SIGALRM, _again)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)


def _uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """No traceback for an interruption that came between all others' hands."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
