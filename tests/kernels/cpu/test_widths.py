"""The builds for other machines use the instructions that their names say."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest
import torch
from marcot.kernels import Compute, Draw
from marcot.kernels.cpu import CpuKernels
from marcot.kernels.cpu.build import SOURCES
from marcot.kernels.cpu.compiler import find_compiler
from support.kernels import kernel_sets
from support.kernels.layer_stacks import EPS, MODELS, Model, step

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

ALIKE = {
    "fused": ("16-bytes", "avx2", "avx2-vnni", "quad-dots", "avx512", "avx512-vnni", "neon", "neon-quad-dots"),
    "unfused": ("sse2", "sse4", "avx2-without-fma", "64-bytes"),
}
"""Sets that multiply and add with one rounding, and sets that use two."""

_DOTS = """
#include "simd/vectors.h"
using namespace marcot;
void dots(I32* sum, const U8* w, const U8* x) {
    sum[0] = add_dot_quads(sum[0], w[0], x[0]);
}
"""


@pytest.mark.parametrize("name", [name for name in kernel_sets.NAMES if name in WIDTHS])
def test_vectors_have_the_width_of_the_set(request: pytest.FixtureRequest, name: str) -> None:
    ops = kernel_sets.kernel_set(name, request.config.cache.mkdir("kernels"))
    assert isinstance(ops, CpuKernels)
    assert ops._library.call("width") == WIDTHS[name]


@pytest.mark.parametrize("compute", ["exact", "fast"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize(
    ("name", "first"),
    [pytest.param(name, first, id=name) for first, *names in ALIKE.values() for name in names],
)
def test_every_width_gives_the_same_bits(
    request: pytest.FixtureRequest, name: str, first: str, model: Model, compute: Compute
) -> None:
    """Whatever integer products a processor has, and in however many lanes sums are kept."""
    if name not in kernel_sets.NAMES or first not in kernel_sets.NAMES:
        pytest.skip("KERNEL_SETS leaves one of the two out")
    results = []
    for ops in (kernel_sets.kernel_set(each, request.config.cache.mkdir("kernels")) for each in (name, first)):
        fused = ops.fuse([model.layer(ops, compute, seed) for seed in range(3)], EPS, model.head_dim)
        assert fused is not None
        output, residual = fused(*step(ops, model, 3))
        head = model.layer(ops, compute, 3).gate_up
        rows = torch.arange(len(output))
        normed, _ = ops.rms_norm(output, torch.ones(model.hidden), EPS, residual)
        draw = Draw(torch.full((len(output),), 0.7), rows * 12345, rows)
        results.append((output, residual, *ops.lm_head_topk(normed, head, 5, rows, draw)))
    for ours, theirs in zip(*results, strict=True):
        assert ours is not None
        assert theirs is not None
        assert torch.equal(ours, theirs)


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
    assert any("vpdpbusd" in line and register in line for line in assembly.read_text().splitlines())
