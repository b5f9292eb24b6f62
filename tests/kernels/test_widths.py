"""The builds for other machines are what their names say."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import kernel_sets
import pytest
from marcot.kernels.cpu import CpuKernels
from marcot.kernels.cpu.build import SOURCES
from marcot.kernels.cpu.compiler import find_compiler

WIDTHS = {
    "sse4": 16,
    "sse2": 16,
    "neon": 16,
    "neon-quad-dots": 16,
    "16-bytes": 16,
    "avx2": 32,
    "avx2-without-fma": 32,
    "avx2-vnni": 32,
    "quad-dots": 32,
    "avx512": 64,
    "avx512-vnni": 64,
    "64-bytes": 64,
    "sanitized-16-bytes": 16,
    "sanitized-64-bytes": 64,
}

_DOTS = """
#include "simd.h"
using namespace marcot;
void dots(I32* sum, const U8* w, const U8* x) {
    sum[0] = add_dot_quads(sum[0], w[0], x[0]);
    sum[1] = add_dot_words(sum[1], (I16)w[1], (I16)x[1]);
}
"""


@pytest.mark.parametrize("name", [name for name in kernel_sets.NAMES if name in WIDTHS])
def test_vectors_have_the_width_of_the_set(request: pytest.FixtureRequest, name: str) -> None:
    ops = kernel_sets.kernel_set(name, request.config.cache.mkdir("kernels"))
    assert isinstance(ops, CpuKernels)
    assert ops._library.call("width") == WIDTHS[name]


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="these are processors of x86")
@pytest.mark.parametrize(("cpu", "register"), [("alderlake", "ymm"), ("icelake-server", "zmm")])
def test_vnni_is_used_where_there_is_any(tmp_path: Path, cpu: str, register: str) -> None:
    source, assembly = tmp_path / "dots.cpp", tmp_path / "dots.s"
    source.write_text(_DOTS)
    command = [*find_compiler().command, "-std=c++20", "-O2", f"-march={cpu}", f"-I{SOURCES}", "-S", str(source)]
    done = subprocess.run([*command, "-o", str(assembly)], capture_output=True, text=True, check=False)
    if "-march" in done.stderr:
        pytest.skip(f"this compiler does not know {cpu}")
    assert done.returncode == 0, done.stderr
    for instruction in ("vpdpbusd", "vpdpwssd"):
        assert any(instruction in line and register in line for line in assembly.read_text().splitlines())
