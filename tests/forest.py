"""Trees of KV segments in the pages of a cache, and plans that read them."""

from __future__ import annotations

import torch
from kernel_sets import tokens_of_keys
from marcot.kernels import Kernels, Plan, WorkItem
from torch import Tensor

PAGE_SIZE = 16


class Forest:
    """Segments on pages of their own inside NaN-poisoned memory, and queries at the ends of paths of segments."""

    def __init__(self, ops: Kernels, kv_heads: int, head_dim: int, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.k_pages, self.v = torch.full((2, 64, kv_heads, PAGE_SIZE, head_dim), torch.nan)
        self.k = tokens_of_keys(ops, self.k_pages)
        self.free = torch.randperm(64, generator=self.random).tolist()
        self.segments: list[tuple[list[int], int, int]] = []

    def add(self, length: int, first_slot: int) -> int:
        """Store a segment of random K and V; returns its number."""
        pages = [self.free.pop() for _ in range(-(-(first_slot + length) // PAGE_SIZE))]
        for i in range(first_slot, first_slot + length):
            for cache in (self.k, self.v):
                cache[pages[i // PAGE_SIZE], :, i % PAGE_SIZE] = torch.randn(cache.shape[1::2], generator=self.random)
        self.segments.append((pages, first_slot, length))
        return len(self.segments) - 1

    def tokens(self, cache: Tensor, path: list[int]) -> Tensor:
        """`[tokens, kv_heads, head_dim]` of a path."""
        rows = []
        for pages, first_slot, length in (self.segments[number] for number in path):
            rows += [cache[pages[i // PAGE_SIZE], :, i % PAGE_SIZE] for i in range(first_slot, first_slot + length)]
        return torch.stack(rows)

    def plan(self, queries: list[tuple[list[int], int]], chunk: int) -> Plan:
        """The plan of queries `(path, rows)`, which are in depth-first order; the rows are the path's last tokens."""
        items: dict[tuple[int, ...], list[int]] = {}
        positions: list[int] = []
        for path, rows in queries:
            total = sum(self.segments[number][2] for number in path)
            for depth in range(len(path)):
                readers = items.setdefault(tuple(path[: depth + 1]), [len(positions), 0])
                readers[1] += rows
            positions += range(total - rows, total)
        work, pages = [], []
        for path, (first_row, rows) in items.items():
            start = sum(self.segments[number][2] for number in path[:-1])
            owned, first_slot, length = self.segments[path[-1]]
            for begin in range(0, length, chunk):
                run = min(chunk, length - begin)
                page, slot = divmod(first_slot + begin, PAGE_SIZE)
                work.append(WorkItem(len(pages), slot, start + begin, run, first_row, rows))
                pages += owned[page : (first_slot + begin + run - 1) // PAGE_SIZE + 1]
        return Plan(*(torch.tensor(field, dtype=torch.int32) for field in (positions, work, pages)))
