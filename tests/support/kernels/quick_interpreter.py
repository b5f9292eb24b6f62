"""Spares Triton's interpreter, where most of our time goes, what it does over and over. Results are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from math import prod
from typing import Any

import numpy as np
from triton.language import core
from triton.runtime import interpreter


def install() -> None:
    """Make kernels that run from now on quicker.

    At each launch, and each time that a kernel calls a function, the interpreter replaces all of `triton.language` by
    its own. As nothing is compiled in its process, once is enough. For each sum or product of integers it works out
    whether they overflow, and then, unless it is told to debug, asserts nothing. And it describes the same few shapes
    for every value.
    """
    interpreter._patch_lang = _for_each_module(interpreter._patch_lang)
    interpreter._get_np_dtype = _remembered(interpreter._get_np_dtype)
    options = interpreter.interpreter_builder.options
    interpreter.interpreter_builder.options = replace(options, sanitize_overflow=options.debug)
    core.tensor.__init__ = _tensor
    core.block_type.__init__ = _block_type(core.block_type.__init__)


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


@cache
def _shape(sizes: tuple[int, ...]) -> tuple[Any, Any]:
    """A tensor's `shape` and `numel`."""
    return core.tuple([core.constexpr(size) for size in sizes]), core.constexpr(prod(sizes))


def _tensor(self: Any, handle: Any, type: Any) -> None:
    """What `tensor.__init__` does, with a description of the shape that tensors share."""
    self.handle, self.type, self.dtype = handle, type, type.scalar
    self.shape, self.numel = _shape(type.shape if type.is_block() else ())


def _block_type(init: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
    """`init`, once for a shape and a number format."""
    known: dict[tuple[str, tuple[int, ...]], tuple[Any, ...]] = {}

    def init_once(self: Any, element_ty: Any, shape: Sequence[Any]) -> None:
        if any(type(size) is not int for size in shape):
            init(self, element_ty, shape)
            return
        key = element_ty.name, tuple(shape)
        if key not in known:
            init(self, element_ty, shape)
            known[key] = self.shape, self.numel, self.name
        self.element_ty = element_ty
        self.shape, self.numel, self.name = known[key]

    return init_once
