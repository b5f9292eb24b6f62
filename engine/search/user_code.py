"""Calls of what users have written."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from types import TracebackType

from ...kernels import MarcotError
from ..errors import CallableError

_PACKAGE = __name__.partition(".")[0]

_MODULE = re.compile(r"(?<![\w.])([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_]")

_EXCERPT = 60
"""Characters of a question in a message."""


def name_of(code: object) -> str:
    """Where a function, or the class of an object that is called, is defined: `"module:function"`."""
    return f"{code.__module__}:{getattr(code, '__qualname__', type(code).__name__)}"


def source_hashes(names: Iterable[str]) -> dict[str, str]:
    """What files with code of the user's hold, so that results can tell when it has changed.

    Args:
        names: What may name code or kinds of action of the user's: `module:name`, also in a mixture, or `FILE.toml`.

    Returns:
        Eight hexadecimal digits by module or file. A script that was started or a notebook is not among them, nor is
        what a module imports.
    """
    files: dict[str, Path] = {}
    for name in names:
        if name.endswith(".toml"):
            files[name] = Path(name)
        for module in _MODULE.findall(name):
            file = getattr(sys.modules.get(module), "__file__", None)
            if file and module != "__main__" and module.partition(".")[0] != _PACKAGE:
                files[module] = Path(file)
    return {name: hashlib.sha256(file.read_bytes()).hexdigest()[:8] for name, file in files.items() if file.is_file()}


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
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        traceback = traceback.tb_next
    return traceback
