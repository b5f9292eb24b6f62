"""Time GPU ops without host overhead: replayed CUDA graphs, with a cold L2 cache for each call.

Python takes longer to launch an op of several short kernels than the GPU takes to run it, so events around a call would
time the launches. Instead, two graphs are timed: one that repeats (clear the cache, call) `n` times, and one that
repeats (clear the cache) `n` times. Their difference divided by `n` is the time of a call on the device.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Final

import torch

CLEARED_BYTES: Final = 192 * 2**20
"""Bytes written to clear the L2 cache: more than three times the L2 cache of an H200."""

_CALLS, _REPEATS = 10, 5

Call = Callable[[], object]
Replayed = Callable[[Sequence[Call]], float]
"""Returns the seconds that calls take when they are replayed as one graph."""


class ColdClock:
    """Times calls. Each is run a few times before capture, so that it is compiled and its memory is allocated."""

    def __init__(self, replayed: Replayed, clear: Call) -> None:
        """Create a clock that times graphs with `replayed` and clears the cache with `clear`; see `on_device`."""
        self._replayed = replayed
        self._clear = clear
        self._cleared: dict[int, float] = {}

    @classmethod
    def on_device(cls, device: torch.device) -> ColdClock:
        """Create a clock for a GPU."""
        memory = torch.empty(CLEARED_BYTES, dtype=torch.uint8, device=device)
        return cls(replayed_seconds, memory.zero_)

    def seconds(self, call: Call, calls: int = _CALLS) -> float:
        """Seconds of one `call` with a cold cache, as the mean of `calls` calls in a graph."""
        if calls not in self._cleared:
            self._cleared[calls] = self._replayed([self._clear] * calls)
        both = self._replayed([self._clear, call] * calls)
        return (both - self._cleared[calls]) / calls


def replayed_seconds(calls: Sequence[Call]) -> float:
    """Median seconds of a graph of `calls`, which must not synchronise with the device."""
    graph = captured(calls)
    return replay_seconds(graph, _REPEATS)


def captured(calls: Sequence[Call]) -> torch.cuda.CUDAGraph:
    """Capture `calls` in a CUDA graph, after running each distinct call three times."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for call in dict.fromkeys(calls):
            for _ in range(3):
                call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for call in calls:
            call()
    return graph


def replay_seconds(graph: torch.cuda.CUDAGraph, repeats: int) -> float:
    """Median seconds of a replay of `graph`, measured by events around it; the first replay does not count."""
    times: list[float] = []
    for _ in range(1 + repeats):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        before.record()
        graph.replay()
        after.record()
        after.synchronize()
        times.append(before.elapsed_time(after) / 1e3)
    return statistics.median(times[1:])
