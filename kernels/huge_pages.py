"""Memory of the CPU on huge pages, where the system has them."""

from __future__ import annotations

import mmap

import torch
from torch import Tensor


def reserve(size: int) -> Tensor:
    """Return `[size]` uint8, zero and aligned to pages, that the system commits when it is first written.

    A decode step reads every weight and much of the KV cache. On pages of 4 KB each of them costs a walk through the
    page table when it is read and a fault when it is first written, and no hardware prefetcher looks beyond its end;
    huge pages (on Linux, if `transparent_hugepage` allows `madvise`) avoid all three.
    """
    memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)[:size]
