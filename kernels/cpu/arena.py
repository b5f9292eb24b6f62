"""Memory for weights, on huge pages where the system has them."""

from __future__ import annotations

import mmap

import torch
from torch import Tensor

_CHUNK_BYTES = 64 * 2**20
"""Large enough that nearly all weights of a small layer lie on whole huge pages; what is not used is not committed."""

_ALIGNMENT = 64
"""Cache line."""


class Arena:
    """Hands out memory that is freed when its last tensor goes.

    A decode step reads every weight once. On pages of 4 KB each of them costs a walk through the page table, and no
    hardware prefetcher looks beyond its end; huge pages (on Linux, if `transparent_hugepage` allows `madvise`) avoid
    both.
    """

    def __init__(self) -> None:
        """Start without memory."""
        self._chunk = torch.empty(0, dtype=torch.uint8)

    def take(self, size: int) -> Tensor:
        """Return `[size]` uint8, zero and aligned to cache lines."""
        room = -(-size // _ALIGNMENT) * _ALIGNMENT
        if room > len(self._chunk):
            memory = mmap.mmap(-1, max(room, _CHUNK_BYTES), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                memory.madvise(mmap.MADV_HUGEPAGE)
            self._chunk = torch.frombuffer(memory, dtype=torch.uint8)
        taken, self._chunk = self._chunk[:size], self._chunk[room:]
        return taken
