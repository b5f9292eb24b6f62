"""Runs the user's own code and turns its errors into messages that name it."""

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
"""Maximum characters of a question in a message."""


def name_of(code: object) -> str:
    """Where a function, or the class of a callable object, is defined: `"module:function"`."""
    return f"{code.__module__}:{getattr(code, '__qualname__', type(code).__name__)}"


def source_hashes(names: Iterable[str]) -> dict[str, str]:
    """Hashes of the files with the user's own code, so that a change can be seen in results.

    Args:
        names: Values of options that may name the user's code: `module:name`, also in a mixture, or `FILE.toml`.

    Returns:
        Eight hexadecimal digits for each module or file. The main script or notebook is not included, nor is anything
        that a module imports.
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
    """Runs the user's code for one question; errors name both the code and the question."""

    def __init__(self, question: str) -> None:
        """Name the question with this text in errors."""
        self._question = question

    @property
    def _where(self) -> str:
        return f" (question: {shorten(self._question, _EXCERPT, placeholder=' ...')})"

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Turn errors of the strategy `name` into a `CallableError`, except those that marcot raises below it."""
        try:
            yield
        except MarcotError:
            raise
        except Exception as error:
            raise self._raised(name, error) from error

    @contextmanager
    def calling(self, name: str) -> Iterator[None]:
        """Turn errors of the code `name`, and of the checks of its results, into a `CallableError`."""
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
        """The error to raise from `error`, which keeps the traceback of the user's code but not of the search."""
        error.__traceback__ = _outside(error.__traceback__) or error.__traceback__
        return self.error(f"{name} raised {type(error).__name__}: {error}")

    def error(self, message: str) -> CallableError:
        """The error with `message` and the question."""
        return CallableError(message + self._where)


def _outside(traceback: TracebackType | None) -> TracebackType | None:
    """`traceback` from the first frame outside this package on; None if there is none."""
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        traceback = traceback.tb_next
    return traceback
