"""Calls of what users have written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import shorten
from types import TracebackType

from ...kernels import MarcotError
from ..errors import CallableError

_EXCERPT = 60
"""Characters of a question in a message."""


def name_of(code: object) -> str:
    """Where a function, or the class of an object that is called, is defined: `"module:function"`."""
    return f"{code.__module__}:{getattr(code, '__qualname__', type(code).__name__)}"


class UserCode:
    """What users have written, called on behalf of one question: its errors become ones that name both."""

    def __init__(self, question: str) -> None:
        """Call for the question of this text."""
        self._where = f" (question: {shorten(question, _EXCERPT, placeholder=' ...')})"

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Turn what the strategy called `name` raises into a `CallableError`, but for what marcot raises below it."""
        try:
            yield
        except MarcotError:
            raise
        except Exception as error:
            raise self._raised(name, error) from error

    @contextmanager
    def calling(self, name: str) -> Iterator[None]:
        """Turn what the code called `name` raises, or what is wrong with what it returns, into a `CallableError`."""
        try:
            yield
        except CallableError as error:
            if str(error).endswith(self._where):
                raise
            raise self.error(str(error)) from error.__cause__
        except MarcotError as error:
            raise self.error(f"{name}: {error}") from error
        except Exception as error:
            raise self._raised(name, error) from error

    def _raised(self, name: str, error: Exception) -> CallableError:
        """What to raise from `error`, which keeps the traceback of the user's code and not the search around it."""
        error.__traceback__ = _outside(error.__traceback__) or error.__traceback__
        return self.error(f"{name} raised {type(error).__name__}: {error}")

    def error(self, message: str) -> CallableError:
        """The error that says `message`, and for which question."""
        return CallableError(message + self._where)


def _outside(traceback: TracebackType | None) -> TracebackType | None:
    """The part of `traceback` from the first call that is not in this package; None if all are."""
    package = __name__.partition(".")[0]
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] == package:
        traceback = traceback.tb_next
    return traceback
