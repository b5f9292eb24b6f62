"""The specification as a kernel set that reads plans in tiles, as GPU kernels do, in plain torch."""

from __future__ import annotations

from typing import Any

import torch
from marcot.kernels import HeadTopK, KVScales, Plan, Tile, Tiling, WorkItem, reference
from marcot.kernels.triton.attention.tiles import cut
from torch import Tensor


def _items(tile: Tile, tails: list[int]) -> list[WorkItem]:
    """The work of a tile, on pages of one token."""
    first, position, length, first_row, rows, _, width = tile
    if not width:
        return [WorkItem(first, 0, position, length, first_row, rows)] if length else []
    return [WorkItem(first + i * width, 0, tails[first_row + i], width, first_row + i, 1) for i in range(rows)]


class TiledReference:
    """`reference`, but its attention follows the plan's tiles; if there are none, it cuts the work items itself."""

    name = "tiled reference"

    def __getattr__(self, name: str) -> Any:
        return getattr(reference, name)

    def tiling(self, heads: int, kv_heads: int) -> Tiling:
        return Tiling(rows=(2, 5), workers=3)

    def tree_attention(
        self, q: Tensor, k_pages: Tensor, v_pages: Tensor, plan: Plan, scale: float, scales: KVScales | None = None
    ) -> Tensor:
        """A tile is a work item on pages of one token; each row of a tile of tails is one, too. Uncovered tokens are
        NaN.
        """
        kv_heads, page_size = k_pages.shape[1:3]
        tiling = self.tiling(q.shape[1], kv_heads)
        tiles = plan.tiles or cut(plan, page_size, q.shape[1] // kv_heads, tiling)
        assert tiles.rows in tiling.rows
        assert (tiles.tiles[:, 4] <= tiles.rows).all()
        items = [item for tile in map(Tile._make, tiles.tiles.tolist()) for item in _items(tile, tiles.tails.tolist())]
        by_token = (pages.transpose(1, 2).flatten(0, 1).unsqueeze(2) for pages in (k_pages, v_pages))
        table = torch.tensor(items, dtype=torch.int32).reshape(-1, len(WorkItem._fields))
        return self._attention(q, *by_token, Plan(plan.positions, table, tiles.slots), scale, scales)

    _attention = staticmethod(reference.tree_attention)

    def lm_head_topk(self, hidden: Tensor, *arguments: Any, **options: Any) -> HeadTopK:
        """The LM head refuses NaN, like the head of a GPU set."""
        assert hidden.isfinite().all()
        return reference.lm_head_topk(hidden, *arguments, **options)
