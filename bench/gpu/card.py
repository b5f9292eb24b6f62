"""The GPU that `make gpu-check` runs on, and how fast it can be at all."""

from __future__ import annotations

import math
import platform
import subprocess
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import torch
from marcot.kernels.programs import find_program

from .cold_clock import ColdClock

_COPIED_BYTES = 2**27
"""More than any cache holds. In a graph, copies of a GiB are left to an engine that is a third slower."""

_GEMM_SIZE = 8192

_LONG_CALLS = 5
"""Calls in a graph where each takes about a millisecond."""

_TRIES = 3
"""A card that was idle has low clocks at first: the best counts."""

_PACKAGES = ("marcot", "torch", "triton", "transformers", "flashinfer-python", "vllm", "sglang")


class Card(NamedTuple):
    """Hardware, versions and limits.

    Attributes:
        name: As the driver calls it.
        arch: `"sm_90"`, `"gfx942"`.
        processors: Streaming multiprocessors, or compute units.
        memory: Bytes.
        versions: Of the driver, the runtime, Python and the packages that are installed.
        copy_bandwidth: Bytes per second that a copy reads and writes together; NaN where that failed.
        gemm_speed: bf16 operations per second of a large product by cuBLAS; NaN where that failed.
    """

    name: str
    arch: str
    processors: int
    memory: int
    versions: dict[str, str]
    copy_bandwidth: float
    gemm_speed: float


def measure_card(clock: ColdClock) -> Card:
    """Look at the GPU and time its two limits by `clock`; takes a few seconds."""
    from marcot.kernels.triton.arch import detect_arch

    device = torch.device("cuda")
    properties = torch.cuda.get_device_properties(device)
    return Card(
        name=properties.name,
        arch=detect_arch(device).name,
        processors=properties.multi_processor_count,
        memory=properties.total_memory,
        versions=_versions(),
        gemm_speed=_or_nan(_gemm_speed, clock, device),  # first: it wakes the card up
        copy_bandwidth=_or_nan(_copy_bandwidth, clock, device),
    )


def _or_nan(measure: Callable[[ColdClock, torch.device], float], clock: ColdClock, device: torch.device) -> float:
    """Without a limit a report has no shares of it, and everything else."""
    try:
        return max(measure(clock, device) for _ in range(_TRIES))
    except Exception:
        traceback.print_exc()
        return math.nan


def _copy_bandwidth(clock: ColdClock, device: torch.device) -> float:
    source = torch.ones(_COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return 2 * _COPIED_BYTES / clock.seconds(lambda: target.copy_(source))


def _gemm_speed(clock: ColdClock, device: torch.device) -> float:
    a, b = (torch.randn(_GEMM_SIZE, _GEMM_SIZE, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * _GEMM_SIZE**3 / clock.seconds(lambda: a @ b, _LONG_CALLS)


def _versions() -> dict[str, str]:
    found = {"driver": _driver(), "cuda": torch.version.cuda or f"hip {torch.version.hip}"}
    found["python"] = platform.python_version()
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _driver() -> str:
    program = find_program("nvidia-smi")
    if program is None:
        return "unknown"
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "unknown"
    return ended.stdout.split("\n")[0].strip() or "unknown"
