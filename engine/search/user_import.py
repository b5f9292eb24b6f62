"""Imports a user's own code by a name that fits on a command line: `module:attribute`."""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module

from ..errors import InputError

_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_import_path(text: str) -> bool:
    """Whether `text` has the form `module:attribute`."""
    return _PATH.fullmatch(text) is not None


def import_attribute(path: str, option: str) -> object:
    """The object that `path` names.

    Modules in the current folder are found too, after installed ones, unless `PYTHONSAFEPATH` is set.

    Args:
        path: A text of the form `module:attribute`; see `is_import_path`.
        option: The option that it was given for, for messages.

    Raises:
        InputError: There is no such module or attribute, or the module cannot be imported.
    """
    name, _, attribute = path.partition(":")
    if not sys.flags.safe_path and not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise InputError(f"{option} {path!r}: importing {name} failed: {error}") from error
        raise InputError(
            f"{option} {path!r}: there is no module {error.name} in {os.getcwd()} or among the installed packages"
        ) from error
    except Exception as error:  # importing a module can raise any error
        raise InputError(f"{option} {path!r}: importing {name} failed: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise InputError(f"{option} {path!r}: {module.__file__ or name} has no {attribute}") from None


def instantiate(found: object, path: str, option: str) -> object:
    """`found`, or an instance of it if it is a class.

    Raises:
        InputError: The class needs arguments, or raises an error.
    """
    if not isinstance(found, type):
        return found
    try:
        return found()
    except Exception as error:
        raise InputError(
            f"{option} {path!r}: {found.__name__}() failed: {error}; name an instance instead of the class"
        ) from error
