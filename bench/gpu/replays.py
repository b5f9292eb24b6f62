"""Observe the CUDA graphs that an engine replays: how often each one runs, and which kernels it contains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch


class KernelShare(NamedTuple):
    """A kernel in a profile.

    Attributes:
        name: Its name in the profiler.
        launches: How often it ran.
        seconds: Total time of these launches.
    """

    name: str
    launches: int
    seconds: float


@contextmanager
def counted_replays() -> Iterator[Counter[torch.cuda.CUDAGraph]]:
    """Count the replays of every CUDA graph inside the `with` block."""
    counts: Counter[torch.cuda.CUDAGraph] = Counter()
    replay = torch.cuda.CUDAGraph.replay

    def counted(graph: torch.cuda.CUDAGraph) -> None:
        counts[graph] += 1
        replay(graph)

    torch.cuda.CUDAGraph.replay = counted  # type: ignore[assignment, method-assign]
    try:
        yield counts
    finally:
        torch.cuda.CUDAGraph.replay = replay  # type: ignore[method-assign]


def profiled(run: Callable[[], object]) -> list[KernelShare]:
    """Kernels and copies that run on the GPU during `run`, longest first."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run()
        torch.cuda.synchronize()
    shares = [
        KernelShare(event.key, event.count, event.self_device_time_total / 1e6)
        for event in profile.key_averages()
        if event.self_device_time_total
    ]
    return sorted(shares, key=lambda share: -share.seconds)
