"""Which kernel set a device gets, and what the user is told about it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from marcot.kernels import select
from marcot.kernels.errors import KernelsUnavailableError
from marcot.kernels.triton import TritonKernels
from marcot.kernels.triton.arch import INTERPRETED
from support.programs import system_tools

CPU, GPU = torch.device("cpu"), torch.device("cuda")
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason=system_tools.why_skipped("g++")
)

TWICE = """
import sys
import torch
sys.modules |= dict.fromkeys({missing})
from marcot.kernels import select
device, dtype = torch.device("{device}"), getattr(torch, "{dtype}")
print(select(device, dtype).name, select(device, dtype).name)
"""


@pytest.fixture(autouse=True)
def no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MARCOT_KERNELS", raising=False)


def select_twice(dtype: str = "float32", device: str = "cpu", missing: Sequence[str] = ()) -> tuple[str, str]:
    """The two sets that a new process without the modules `missing` selects, and its messages about them."""
    command = [sys.executable, "-c", TWICE.format(dtype=dtype, device=device, missing=list(missing))]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return ended.stdout.strip(), ended.stderr


@needs_compiler
def test_a_cpu_gets_the_cpu_set() -> None:
    assert select(CPU).name == "cpu"
    assert select(CPU) is select(CPU, torch.float32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_a_gpu_gets_the_triton_set(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    loaded: list[tuple[torch.device, bool]] = []

    def load(device: torch.device, deterministic: bool) -> TritonKernels:
        loaded.append((device, deterministic))
        return TritonKernels(INTERPRETED, deterministic)

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("marcot.kernels.triton.load", load)
    assert select(GPU, dtype).name == "triton"
    assert select(GPU, dtype, deterministic=True).deterministic
    assert loaded == [(GPU, False), (GPU, True)]


def test_a_set_that_is_not_deterministic_is_refused_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARCOT_KERNELS", "reference")
    with pytest.raises(KernelsUnavailableError, match="the reference kernels are not deterministic, because torch's"):
        select(CPU, deterministic=True)


def test_a_gpu_without_triton_gets_the_reference_and_hears_of_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    names, said = select_twice("bfloat16", "cuda", missing=["triton"])
    assert names == "reference reference"
    assert said.count("\n") == 1
    assert said.startswith("running on the slow reference kernels: the GPU kernels need Triton (")
    assert said.endswith("): pip install 'marcot[gpu]'\n")


def test_the_triton_set_on_a_cpu_is_for_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARCOT_KERNELS", "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert select(CPU).name == "triton"
    assert select(CPU, torch.float16).name == "triton"
    with pytest.raises(KernelsUnavailableError, match="gets bfloat16 products wrong: use --dtype float16 or float32"):
        select(CPU, torch.bfloat16)
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(KernelsUnavailableError, match="need a GPU; TRITON_INTERPRET=1 runs them on the CPU"):
        select(CPU)


def test_the_variable_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARCOT_KERNELS", "reference")
    assert select(CPU).name == "reference"
    monkeypatch.setenv("MARCOT_KERNELS", "abacus")
    known = "cpu, reference, triton"
    with pytest.raises(KernelsUnavailableError, match=f"MARCOT_KERNELS=abacus: no such kernel set; known: {known}"):
        select(CPU)


@pytest.mark.parametrize(
    ("device", "dtype", "message"),
    [(GPU, torch.float32, "do not run on cuda"), (CPU, torch.bfloat16, "compute in float32, not in bfloat16")],
    ids=["gpu", "bfloat16"],
)
def test_a_set_that_does_not_work_here_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, dtype: torch.dtype, message: str
) -> None:
    monkeypatch.setenv("MARCOT_KERNELS", "cpu")
    with pytest.raises(KernelsUnavailableError, match=message):
        select(device, dtype)


def test_without_a_compiler_the_reference_runs_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    names, said = select_twice()
    assert names == "reference reference"
    assert said == (
        "running on the slow reference kernels: no C++ compiler found; install g++ (Debian, Ubuntu: apt install g++) "
        "or name one in CXX\n"
    )


def test_without_a_compiler_the_cpu_set_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MARCOT_KERNELS", "cpu")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        select_twice()
    assert "NoCompilerError: no C++ compiler found" in caught.value.stderr


def test_a_compiler_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "c++"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "c++ 0.1" && exit\necho one; echo two; exit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names, said = select_twice()
    assert names == "reference reference"
    reason = "the C++ compiler refuses the CPU kernels (all of it with MARCOT_KERNELS=cpu)"
    lines = said.splitlines()
    assert lines.count(f"running on the slow reference kernels: {reason}") == 1
    assert len([line for line in lines if not line.startswith("building the CPU kernels")]) == 1


def test_another_dtype_runs_on_the_reference_and_hears_of_weights() -> None:
    names, said = select_twice("bfloat16")
    assert names == "reference reference"
    assert "float32, not in bfloat16" in said
    assert "--weights bf16" in said
    assert said.count("\n") == 1
