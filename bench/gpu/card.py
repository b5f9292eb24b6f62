"""The GPU that `make gpu-check` runs on, and its measured limits."""

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
"""Larger than any cache. In a graph, copies of 1 GiB go to a copy engine that is a third slower."""

_GEMM_SIZE = 8192

_LONG_CALLS = 5
"""Calls per graph if each takes about a millisecond."""

_TRIES = 3
"""Number of tries, of which the best counts: an idle card starts with low clocks."""

_PACKAGES = ("marcot", "torch", "triton", "transformers", "flashinfer-python", "vllm", "sglang")


class Card(NamedTuple):
    """A GPU: hardware, software versions and measured limits.

    Attributes:
        name: Its name in the driver.
        arch: Architecture, such as `"sm_90"` or `"gfx942"`.
        processors: Number of streaming multiprocessors or compute units.
        memory: Memory in bytes.
        versions: Versions of the driver, the runtime, Python and the installed packages.
        copy_bandwidth: Bytes per second of a copy, reads plus writes; NaN if the measurement failed.
        gemm_speed: bf16 operations per second of a large product by cuBLAS; NaN if the measurement failed.
    """

    name: str
    arch: str
    processors: int
    memory: int
    versions: dict[str, str]
    copy_bandwidth: float
    gemm_speed: float


def measure_card(clock: ColdClock) -> Card:
    """Query the GPU and measure its two limits with `clock`; takes a few seconds."""
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
    """The best of several measurements; NaN if one fails, so that the rest of the report still works."""
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
