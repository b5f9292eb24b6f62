"""The kernel sets that the tests of `tests/kernels` run on, by name.

In addition to the sets that users get, there are builds of the CPU kernels for other machines: other vector widths,
other instruction sets, and some under sanitizers, which take too long for every run. `KERNEL_SETS` in the environment
selects sets by patterns such as `sanitized*`, separated by commas.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from functools import cache, partial
from pathlib import Path
from typing import Final, cast

import pytest
import torch
from marcot.kernels import Kernels, reference
from marcot.kernels.cpu import CpuKernels, Library, load
from marcot.kernels.cpu.build import _NATIVE, _cpu_features, built_library
from marcot.kernels.errors import NoCompilerError
from support.kernels import triton_device
from support.kernels.device_kernels import DeviceKernels
from support.kernels.driver_library import DriverLibrary, built_driver
from support.programs import system_tools
from torch import Tensor

_ON_X86: Final = platform.machine().lower() in ("x86_64", "amd64")
_AVX2, _AVX512 = "-march=x86-64-v3", "-march=x86-64-v4"
_NEON_COMPILER, _NEON_EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"


def _triton(folder: Path) -> Kernels:
    """The GPU kernels, in Triton's interpreter or on the device that `triton_device.py` has chosen."""
    from marcot.kernels.triton import load as load_triton

    device = torch.device(triton_device.DEVICE)
    kernels = load_triton(device)
    return kernels if device.type == "cpu" else cast(Kernels, DeviceKernels(kernels, device))


def _cpu(flags: Sequence[str], folder: Path, needs: Sequence[str] = ()) -> Kernels:
    """A library for this machine, if the processor has what it `needs`."""
    if not flags:
        return load()
    if not _ON_X86:
        pytest.skip("its flags are those of x86")
    lacks = set(needs) - set(_cpu_features().split())
    if lacks:
        pytest.skip(f"this processor has no {', '.join(sorted(lacks))}")
    return CpuKernels(Library(built_library(extra_flags=flags)))


def _neon(flags: Sequence[str], folder: Path) -> Kernels:
    """A driver for ARM, run by an emulator."""
    if reason := system_tools.missing(_NEON_COMPILER, _NEON_EMULATOR):
        pytest.skip(reason)
    program = built_driver(_NEON_COMPILER, ("-static", *flags), folder)
    return CpuKernels(DriverLibrary([_NEON_EMULATOR, program]))


def _sanitized(sanitizers: str, flags: Sequence[str], folder: Path) -> Kernels:
    """A driver that ends at the first access out of bounds, undefined operation or data race.

    Fresh memory is filled with 0xff, which is NaN as a float, so that reading before writing shows as well.
    """
    usual = (f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-O1", "-g", _NATIVE)
    filled = f"malloc_fill_byte=255:max_malloc_fill_size={1 << 30}"
    program = built_driver("g++", (*usual, *flags), folder)
    return CpuKernels(DriverLibrary([program], ASAN_OPTIONS=filled, TSAN_OPTIONS="halt_on_error=1"))


_SETS: Final[dict[str, Callable[[Path], Kernels]]] = {
    "reference": lambda _: reference,
    "cpu": partial(_cpu, ()),
    "triton": _triton,
    "sse4": partial(_cpu, ("-march=x86-64-v2",)),
    "sse2": partial(_cpu, ("-march=x86-64",)),
    "avx2": partial(_cpu, (_AVX2,), needs=("avx2", "fma")),
    "avx2-without-fma": partial(_cpu, (_AVX2, "-mno-fma"), needs=("avx2",)),
    "avx2-vnni": partial(_cpu, (_AVX2, "-mavxvnni"), needs=("avx2", "fma", "avx_vnni")),
    "avx512": partial(_cpu, (_AVX512,), needs=("avx512bw", "avx512vl")),
    "avx512-vnni": partial(_cpu, (_AVX512, "-mavx512vnni"), needs=("avx512bw", "avx512vl", "avx512_vnni")),
    "16-bytes": partial(_cpu, (_AVX2, "-DMARCOT_WIDTH=16"), needs=("avx2", "fma")),
    "quad-dots": partial(_cpu, (_AVX2, "-DMARCOT_QUAD_DOTS=1"), needs=("avx2", "fma")),
    "64-bytes": partial(_cpu, (_AVX2, "-DMARCOT_WIDTH=64", "-DMARCOT_QUAD_DOTS=1"), needs=("avx2", "fma")),
    "neon": partial(_neon, ()),
    "neon-quad-dots": partial(_neon, ("-march=armv8.2-a+dotprod",)),
    "sanitized": partial(_sanitized, "address,undefined", ()),
    "sanitized-16-bytes": partial(_sanitized, "address,undefined", ("-DMARCOT_WIDTH=16",)),
    "sanitized-64-bytes": partial(_sanitized, "address,undefined", ("-DMARCOT_WIDTH=64",)),
    "sanitized-threads": partial(_sanitized, "thread", ()),
}


def _chosen() -> list[str]:
    patterns = os.environ.get("KERNEL_SETS")
    if patterns is None:
        return [name for name in _SETS if not name.startswith("sanitized")]
    chosen = [name for name in _SETS if any(fnmatch(name, pattern) for pattern in patterns.split(","))]
    assert chosen, f"KERNEL_SETS={patterns}: known are {', '.join(_SETS)}"
    return chosen


NAMES: Final = _chosen()
COMPILED: Final = [name for name in NAMES if name not in ("reference", "triton")]
"""Sets that are batch-invariant."""
FAST: Final = [name for name in NAMES if name in ("reference", "cpu", "sanitized")]
"""Sets that are fast enough for large sizes."""


@cache
def kernel_set(name: str, folder: Path) -> Kernels:
    """Return the set `name`, building it in `folder` if needed. Skips the test if this machine cannot run it."""
    try:
        return _SETS[name](folder)
    except NoCompilerError:
        pytest.skip(system_tools.why_skipped("g++"))


def tokens_of_keys(ops: Kernels, k_pages: Tensor) -> Tensor:
    """K pages with the head dimension last, `[..., kv_heads, page_size, head_dim]`, as a view of the memory that `ops`
    uses.
    """
    if not ops.keys_by_dim:
        return k_pages
    *_, page_size, head_dim = k_pages.shape
    return k_pages.view(*k_pages.shape[:-2], head_dim, page_size).transpose(-1, -2)
