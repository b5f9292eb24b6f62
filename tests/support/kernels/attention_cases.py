"""Attention with tiles that are written by hand, and the expected results."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from marcot.kernels import Kernels, KVScales, Plan, Tile, Tiles
from torch import Tensor

PAGE_SIZE = 16
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
GARBAGE = torch.iinfo(torch.int32).max


def int32(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def on(device: torch.device, plan: Plan) -> Plan:
    tiles = plan.tiles and Tiles(plan.tiles.rows, *(table.to(device) for table in plan.tiles[1:]))
    return Plan(*(table.to(device) for table in plan[:3]), tiles)


def attend(
    ops: Kernels,
    device: torch.device,
    q: Tensor,
    k_pages: Tensor,
    v_pages: Tensor,
    plan: Plan,
    scale: float = 0.3,
    scales: KVScales | None = None,
) -> Tensor:
    """Call the op on `device`, with arguments and result on the CPU."""
    q, k_pages, v_pages = (tensor.to(device) for tensor in (q, k_pages, v_pages))
    scales = scales and KVScales(*(scale.to(device) for scale in scales))
    return ops.tree_attention(q, k_pages, v_pages, on(device, plan), scale, scales).cpu()


def dense(q: Tensor, k: Tensor, v: Tensor, scale: float = 0.3) -> Tensor:
    """Attention of one row (`[heads, head_dim]`) over `k` and `v` (`[tokens, kv_heads, head_dim]`), in fp64."""
    kv_heads = k.shape[1]
    grouped = q.double().view(kv_heads, -1, q.shape[-1])
    scores = torch.einsum("hgd,thd->hgt", grouped, k.double()) * scale
    return torch.einsum("hgt,thd->hgd", scores.softmax(dim=-1), v.double()).view(q.shape)


def near(out: Tensor, expected: Tensor) -> None:
    tolerance = TOLERANCE[out.dtype]
    torch.testing.assert_close(out.double(), expected, atol=tolerance, rtol=tolerance)


def padded(plan: Plan, tiles: Tiles, rows: int) -> Plan:
    """The plan in the buffers of a captured graph: `rows` more rows, which do nothing, and padding in every table."""
    empty = int32([Tile(GARBAGE, GARBAGE, 0, GARBAGE, GARBAGE, GARBAGE, GARBAGE)] * 5)
    garbage = int32([GARBAGE] * 100)
    merges = torch.cat((tiles.merges, tiles.merges[-1:].expand(rows)))
    every = (tiles.tails, garbage[:rows]), (tiles.tiles, empty), (tiles.slots, garbage), (tiles.partials, garbage)
    tables = map(torch.cat, every)
    return plan._replace(
        positions=torch.cat((plan.positions, garbage[:rows])), tiles=Tiles(tiles.rows, *tables, merges)
    )


class Scattered(NamedTuple):
    """The tokens of a path, in slots in random order."""

    k: Tensor
    v: Tensor
    slots: list[int]


class Cache:
    """Pages that are NaN where no path is stored."""

    def __init__(self, pages: int, kv_heads: int, head_dim: int, dtype: torch.dtype, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.k, self.v = torch.full((2, pages, kv_heads, PAGE_SIZE, head_dim), torch.nan, dtype=dtype)
        self.free = torch.randperm(pages * PAGE_SIZE, generator=self.random).tolist()

    def new(self, tokens: int) -> Scattered:
        """Store a path of random K and V."""
        shape = (2, tokens, self.k.shape[1], self.k.shape[3])
        return self.copy(*torch.randn(shape, generator=self.random).to(self.k.dtype))

    def copy(self, k: Tensor, v: Tensor) -> Scattered:
        """Store a path with the given K and V."""
        slots = [self.free.pop() for _ in k]
        for cache, values in ((self.k, k), (self.v, v)):
            for slot, value in zip(slots, values, strict=True):
                cache[slot // PAGE_SIZE, :, slot % PAGE_SIZE] = value
        return Scattered(k, v, slots)
