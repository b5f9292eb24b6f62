"""Which kernel set a device gets, and what a person is told about it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from marcot.kernels import select
from marcot.kernels.errors import KernelsUnavailableError

CPU, GPU = torch.device("cpu"), torch.device("cuda")
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="this machine has no C++ compiler"
)

TWICE = """
import torch
from marcot.kernels import select
device, dtype = torch.device("cpu"), getattr(torch, "{}")
print(select(device, dtype).name, select(device, dtype).name)
"""


@pytest.fixture(autouse=True)
def no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MARCOT_KERNELS", raising=False)


def select_twice(dtype: str = "float32") -> tuple[str, str]:
    """The names of two sets that a fresh process selects, and what it says about them."""
    command = [sys.executable, "-c", TWICE.format(dtype)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return ended.stdout.strip(), ended.stderr


@needs_compiler
def test_a_cpu_gets_the_cpu_set() -> None:
    assert select(CPU).name == "cpu"
    assert select(CPU) is select(CPU, torch.float32)


def test_a_gpu_gets_the_reference() -> None:
    assert select(GPU, torch.bfloat16).name == "reference"


def test_the_variable_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARCOT_KERNELS", "reference")
    assert select(CPU).name == "reference"
    monkeypatch.setenv("MARCOT_KERNELS", "abacus")
    with pytest.raises(KernelsUnavailableError, match="MARCOT_KERNELS=abacus: no such kernel set; known: cpu, referen"):
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
