"""Times of GPU ops without the host: replayed CUDA graphs, each call with a cold L2 cache.

An op of several short kernels takes Python longer to launch than the GPU to run, so that events around a call time
launches. Instead, two graphs are timed: one of `n` times (empty the cache, call), and one of `n` times (empty the
cache). Their difference, divided by `n`, is the call's time on the device.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Final

import torch

CLEARED_BYTES: Final = 192 * 2**20
"""What is written to empty the L2 cache: more than three times as much as an H200 has."""

_CALLS, _REPEATS = 10, 5

Call = Callable[[], object]
Replayed = Callable[[Sequence[Call]], float]
"""Seconds that the calls take when they are replayed as one graph."""


class ColdClock:
    """Times calls. Each is run a few times before it is captured, so that it is compiled and has its memory."""

    def __init__(self, replayed: Replayed, clear: Call) -> None:
        """Use `replayed` to time graphs, in which `clear` empties the cache; `on_device` makes both."""
        self._replayed = replayed
        self._clear = clear
        self._cleared: dict[int, float] = {}

    @classmethod
    def on_device(cls, device: torch.device) -> ColdClock:
        """The clock of a GPU."""
        memory = torch.empty(CLEARED_BYTES, dtype=torch.uint8, device=device)
        return cls(replayed_seconds, memory.zero_)

    def seconds(self, call: Call, calls: int = _CALLS) -> float:
        """Seconds of one `call` with a cold cache, the mean of `calls` of them in a graph."""
        if calls not in self._cleared:
            self._cleared[calls] = self._replayed([self._clear] * calls)
        both = self._replayed([self._clear, call] * calls)
        return (both - self._cleared[calls]) / calls


def replayed_seconds(calls: Sequence[Call]) -> float:
    """Median seconds of a graph of `calls`. They must not wait for the device."""
    graph = captured(calls)
    return replay_seconds(graph, _REPEATS)


def captured(calls: Sequence[Call]) -> torch.cuda.CUDAGraph:
    """A graph of `calls`, each different one of which is run three times before."""
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
    """Median seconds of a replay of `graph`, by events around it; the first of them does not count."""
    times: list[float] = []
    for _ in range(1 + repeats):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        before.record()
        graph.replay()
        after.record()
        after.synchronize()
        times.append(before.elapsed_time(after) / 1e3)
    return statistics.median(times[1:])
