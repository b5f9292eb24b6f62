"""The kernel sets that the tests of `tests/kernels` run on, by name.

Beside those that a user gets there are builds of the CPU kernels for other machines: other widths of vectors, other
instruction sets, and one under sanitizers, which takes too long to be part of every run. `KERNEL_SETS` in the
environment chooses others, separated by commas.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Final

import pytest
from driver_library import DriverLibrary, built_driver
from marcot.kernels import Kernels, reference
from marcot.kernels.cpu import CpuKernels, Library, load
from marcot.kernels.cpu.build import _NATIVE, built_library
from marcot.kernels.errors import NoCompilerError
from torch import Tensor

_ON_X86: Final = platform.machine().lower() in ("x86_64", "amd64")
_NEON_COMPILER, _NEON_EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"


def _cpu(flags: Sequence[str], folder: Path) -> Kernels:
    """A library for this machine."""
    if not flags:
        return load()
    if not _ON_X86:
        pytest.skip("its flags are those of x86")
    return CpuKernels(Library(built_library(extra_flags=flags)))


def _neon(folder: Path) -> Kernels:
    """A driver for ARM, run by an emulator."""
    for program, package in ((_NEON_COMPILER, "g++-aarch64-linux-gnu"), (_NEON_EMULATOR, "qemu-user")):
        if not shutil.which(program):
            pytest.skip(f"NEON on another machine needs {program} (Debian, Ubuntu: apt install {package})")
    program = built_driver(_NEON_COMPILER, ("-static",), folder)
    return CpuKernels(DriverLibrary([_NEON_EMULATOR, program]))


def _sanitized(flags: Sequence[str], folder: Path) -> Kernels:
    """A driver that stops at the first byte out of bounds and the first undefined operation.

    Fresh memory is filled with 0xff, which as a float is NaN, so that what is read before it is written shows as well.
    """
    sanitizers = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g", _NATIVE, *flags)
    options = f"malloc_fill_byte=255:max_malloc_fill_size={1 << 30}"
    return CpuKernels(DriverLibrary([built_driver("g++", sanitizers, folder)], ASAN_OPTIONS=options))


_SETS: Final[dict[str, Callable[[Path], Kernels]]] = {
    "reference": lambda _: reference,
    "cpu": partial(_cpu, ()),
    "sse4": partial(_cpu, ("-march=x86-64-v2",)),
    "sse2": partial(_cpu, ("-march=x86-64",)),
    "avx2-without-fma": partial(_cpu, ("-mno-fma",)),
    "64-bytes": partial(_cpu, ("-DMARCOT_WIDTH=64",)),
    "neon": _neon,
    "sanitized": partial(_sanitized, ()),
    "sanitized-16-bytes": partial(_sanitized, ("-DMARCOT_WIDTH=16",)),
    "sanitized-64-bytes": partial(_sanitized, ("-DMARCOT_WIDTH=64",)),
}

_USUAL: Final = [name for name in _SETS if not name.startswith("sanitized")]

NAMES: Final = os.environ.get("KERNEL_SETS", ",".join(_USUAL)).split(",")
COMPILED: Final = [name for name in NAMES if name != "reference"]
"""Those whose results are bit for bit the same in every company."""
FAST: Final = [name for name in NAMES if name in ("reference", "cpu", "sanitized")]
"""Those for which large sizes are worth their time."""


@cache
def kernel_set(name: str, folder: Path) -> Kernels:
    """The set `name`; what must be built for it goes to `folder`. Skips the test where this machine cannot have it."""
    try:
        return _SETS[name](folder)
    except NoCompilerError as error:
        pytest.skip(str(error))


def tokens_of_keys(ops: Kernels, k_pages: Tensor) -> Tensor:
    """K pages by token, `[..., kv_heads, page_size, head_dim]`, as a view of the memory that `ops` reads and writes."""
    if not ops.keys_by_dim:
        return k_pages
    *_, page_size, head_dim = k_pages.shape
    return k_pages.view(*k_pages.shape[:-2], head_dim, page_size).transpose(-1, -2)
