"""Makes Triton's interpreter, where these tests spend most of their time, faster by not repeating work."""

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
    """Speed up all kernels that are interpreted from now on. Results stay the same.

    At each launch and each call of a device function, the interpreter replaces all of `triton.language` by its own
    functions; once is enough, because nothing is compiled in this process. For sums and products of integers it checks
    for overflow even when it does not debug and so ignores the result. It also describes the same few shapes anew for
    every value.
    """
    interpreter._patch_lang = _for_each_module(interpreter._patch_lang)
    interpreter._get_np_dtype = _remembered(interpreter._get_np_dtype)
    options = interpreter.interpreter_builder.options
    interpreter.interpreter_builder.options = replace(options, sanitize_overflow=options.debug)
    core.tensor.__init__ = _tensor
    core.block_type.__init__ = _block_type(core.block_type.__init__)


def _for_each_module(patch: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Call `patch` only once for the functions of a module. The object it returns, which would undo it, is not used."""
    patched = set()

    def patch_once(function: Any) -> Any:
        if function.__module__ not in patched:
            patched.add(function.__module__)
            patch(function)
        return interpreter._LangPatchScope()

    return patch_once


def _remembered(numpy_dtype: Callable[[Any], np.dtype[Any]]) -> Callable[[Any], np.dtype[Any]]:
    """Cache `numpy_dtype`, which builds a table of all formats in each call; pointers and blocks are not hashable."""
    of_scalar = cache(numpy_dtype)
    return lambda dtype: numpy_dtype(dtype) if dtype.is_ptr() or dtype.is_block() else of_scalar(dtype)


@cache
def _shape(sizes: tuple[int, ...]) -> tuple[Any, Any]:
    """A tensor's `shape` and `numel`."""
    return core.tuple([core.constexpr(size) for size in sizes]), core.constexpr(prod(sizes))


def _tensor(self: Any, handle: Any, type: Any) -> None:
    """Like `tensor.__init__`, but tensors of one shape share its description."""
    self.handle, self.type, self.dtype = handle, type, type.scalar
    self.shape, self.numel = _shape(type.shape if type.is_block() else ())


def _block_type(init: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
    """Call `init` only once for each shape and dtype."""
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
