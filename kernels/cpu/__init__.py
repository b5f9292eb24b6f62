"""The op set for CPUs: C++ kernels, built at first use by the machine's own compiler and called through ctypes."""

from __future__ import annotations

from functools import cache
from typing import cast

from ..ops import Kernels
from .build import built_library
from .library import Library
from .op_set import CpuKernels


@cache
def load() -> Kernels:
    """Return the op set, building the library first if necessary.

    Raises:
        NoCompilerError: This machine has no C++ compiler.
        KernelBuildError: The compiler rejected the sources.
    """
    return cast(Kernels, CpuKernels(Library(built_library())))


__all__ = ["CpuKernels", "Library", "load"]
