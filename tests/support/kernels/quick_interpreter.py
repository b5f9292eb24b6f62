"""Spares Triton's interpreter, where most of our time goes, what it does over and over. Results are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from triton.runtime import interpreter


def install() -> None:
    """Make kernels that run from now on quicker.

    At each launch, and each time that a kernel calls a function, the interpreter replaces all of `triton.language` by
    its own. As nothing is compiled in its process, once is enough. For each sum or product of integers it works out
    whether they overflow, and then, unless it is told to debug, asserts nothing.
    """
    interpreter._patch_lang = _for_each_module(interpreter._patch_lang)
    interpreter._get_np_dtype = _remembered(interpreter._get_np_dtype)
    options = interpreter.interpreter_builder.options
    interpreter.interpreter_builder.options = replace(options, sanitize_overflow=options.debug)


def _for_each_module(patch: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`patch`, once for the functions of a module; what it returns would undo that."""
    patched = set()

    def patch_once(function: Any) -> Any:
        if function.__module__ not in patched:
            patched.add(function.__module__)
            patch(function)
        return interpreter._LangPatchScope()

    return patch_once


def _remembered(numpy_dtype: Callable[[Any], np.dtype[Any]]) -> Callable[[Any], np.dtype[Any]]:
    """`numpy_dtype`, which makes a table of all formats at each call; pointers and blocks have no hash."""
    of_scalar = cache(numpy_dtype)
    return lambda dtype: numpy_dtype(dtype) if dtype.is_ptr() or dtype.is_block() else of_scalar(dtype)
