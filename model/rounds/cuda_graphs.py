"""Captures runs of a decode step as CUDA graphs with torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from ..decoder import Decoder
from ..kv_cache import KVCache
from .decode_graph import DecodeGraphs, Run

T = TypeVar("T")


class CudaGraphs:
    """Captures runs as CUDA graphs that share one memory pool, so only one of them may run at a time."""

    def __init__(self, device: torch.device) -> None:
        """Capture on a separate stream of `device`."""
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._device = device
        self._anchor: torch.cuda.CUDAGraph | None = None

    def __call__(self, run: Run) -> Run:
        """Run `run` once, so that its kernels are compiled and cuBLAS reserves its memory; then capture it."""
        if self._anchor is None:
            # torch frees a pool with its last graph, which invalidates the handle; so one graph is always kept.
            self._anchor, _ = self._captured(lambda: torch.zeros(1, device=self._device))
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            run()
        current.wait_stream(self._stream)
        graph, outputs = self._captured(run)

        def repeat() -> Tensor:
            graph.replay()
            return outputs

        return repeat

    def _captured(self, run: Callable[[], T]) -> tuple[torch.cuda.CUDAGraph, T]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            outputs = run()
        return graph, outputs


def decode_graphs(decoder: Decoder, cache: KVCache, most_rows: int) -> DecodeGraphs | None:
    """Graphs for `decoder`; None without a GPU, or if its ops wait for the host.

    Args:
        decoder: The model to run.
        cache: Stores K and V.
        most_rows: Maximum rows of a round.
    """
    config = decoder.config
    if decoder.device.type != "cuda" or decoder.kernels.tiling(config.num_heads, config.num_kv_heads) is None:
        return None
    return DecodeGraphs(decoder, cache, CudaGraphs(decoder.device), most_rows)
