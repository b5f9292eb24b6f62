"""The machine that a benchmark runs on, and its limits: memory bandwidth and fp32 GEMM speed."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import NamedTuple

import cpuinfo
import torch

_READ_BYTES = 2**30
"""Bytes to read for measuring bandwidth: far more than any cache holds."""

_GEMM_SIZE = 2048
_ROUNDS = 7


class Machine(NamedTuple):
    """Hardware, versions and limits.

    Attributes:
        cpu: Name of the processor.
        threads: Threads that torch uses.
        load: Load average over the last minute before the benchmark; above a few tenths, timings are noisy.
        versions: Versions of the packages that are timed.
        read_bandwidth: Bytes per second that all threads together can read from memory.
        gemm_flops: fp32 operations per second of a large `torch.mm`.
    """

    cpu: str
    threads: int
    load: float
    versions: dict[str, str]
    read_bandwidth: float
    gemm_flops: float


def measure_machine() -> Machine:
    """Describe this machine and measure its two limits; takes a few seconds."""
    load = os.getloadavg()[0]
    memory = torch.ones(_READ_BYTES // 4)
    a, b = torch.randn(2, _GEMM_SIZE, _GEMM_SIZE)
    return Machine(
        cpu=cpuinfo.get_cpu_info().get("brand_raw", "unknown"),
        threads=torch.get_num_threads(),
        load=round(load, 2),
        versions={name: version(name) for name in ("marcot", "torch", "transformers")},
        read_bandwidth=_READ_BYTES / _median_seconds(memory.sum),
        gemm_flops=2 * _GEMM_SIZE**3 / _median_seconds(lambda: torch.mm(a, b)),
    )


def _median_seconds(run: Callable[[], object]) -> float:
    run()
    seconds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
