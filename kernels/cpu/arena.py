"""Memory for weights, on huge pages where the system has them."""

from __future__ import annotations

import mmap

import torch
from torch import Tensor

_CHUNK_BYTES = 64 * 2**20
"""Large enough to put nearly all weights of a small layer on whole huge pages; the system commits no unused page."""

_ALIGNMENT = 64
"""Size of a cache line, in bytes."""


class Arena:
    """Allocates memory for weights in large chunks; a chunk is freed with the last tensor that lies in it.

    A decode step reads every weight once. With pages of 4 KB, each page costs a walk through the page table, and the
    hardware prefetcher stops at its end. Huge pages (on Linux, if `transparent_hugepage` allows `madvise`) avoid both.
    """

    def __init__(self) -> None:
        """Start empty; the first `take` allocates."""
        self._chunk = torch.empty(0, dtype=torch.uint8)

    def take(self, size: int) -> Tensor:
        """Return a zeroed uint8 tensor `[size]`, aligned to a cache line."""
        room = -(-size // _ALIGNMENT) * _ALIGNMENT
        if room > len(self._chunk):
            memory = mmap.mmap(-1, max(room, _CHUNK_BYTES), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                memory.madvise(mmap.MADV_HUGEPAGE)
            self._chunk = torch.frombuffer(memory, dtype=torch.uint8)
        taken, self._chunk = self._chunk[:size], self._chunk[room:]
        return taken
