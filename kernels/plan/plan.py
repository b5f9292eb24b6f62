"""The attention plan: which queries read which run of cached tokens."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

PAGE_SIZE = 16
"""Tokens per page: small enough that a fork, which wastes half a page on average, costs little; large enough that a
page of one head is a long contiguous read. The CPU kernels read a page of K as one panel of this width, and GPU
binaries are compiled for it."""


class WorkItem(NamedTuple):
    """A run of cached tokens and the range of query rows that read it, so that K and V are loaded once for all rows.

    Attributes:
        first_page: Index into `Plan.pages` of the page that holds the run's first token.
        first_slot: Slot of that token inside its page.
        position: Absolute position of that token in its sequence.
        length: Tokens in the run; they fill consecutive slots of consecutive `Plan.pages`.
        first_row: First query row that reads the run.
        rows: How many consecutive query rows read it.
    """

    first_page: int
    first_slot: int
    position: int
    length: int
    first_row: int
    rows: int


class Tiling(NamedTuple):
    """The tile sizes that a device supports, and how many tiles it runs at once.

    Attributes:
        rows: The possible numbers of query rows per tile, in ascending order; a step uses one of them.
        workers: Tiles that run at once, each for all KV heads: resident thread blocks of the device / KV heads.
    """

    rows: tuple[int, ...]
    workers: int


class Tile(NamedTuple):
    """The work of one thread block per KV head: consecutive positions of one path, for a few rows that share them.

    Unlike those of a `WorkItem`, its tokens need not be in consecutive slots: they may be the end of one node and the
    start of the next.

    In a tile of *tails*, each row has different tokens: the last ones of its path, up to the row's own token. Each row
    has `width` places for them, one row after the other; unused places hold any slot of the plan.

    Attributes:
        first: Index into `Tiles.slots` of the slot of its first token.
        position: Absolute position of that token; in a tile of tails the largest `Tiles.tails` of its rows.
        length: Number of tokens; 0 in tiles that only fill the buffer. In a tile of tails `rows * width`.
        first_row: First query row that reads the tokens.
        rows: Number of consecutive query rows that read them.
        partial: Index of its first row's partial result, which those of the other rows follow; -1 if its rows read no
            other tile, so that there is nothing to merge.
        width: Places of each row in a tile of tails, a power of two; 0 if all rows share all tokens.
    """

    first: int
    position: int
    length: int
    first_row: int
    rows: int
    partial: int
    width: int = 0


class Tiles(NamedTuple):
    """A plan cut for a GPU. Buffers have a fixed capacity, so that a captured graph can be replayed on them.

    Attributes:
        rows: Maximum number of query rows of a tile, one of `Tiling.rows`.
        tails: `[query rows]` int32, absolute position of the first token of each row's tail; undefined for rows
            without one.
        tiles: `[capacity, 7]` int32, the columns of `Tile`; long tiles come first, empty ones last.
        slots: `[capacity]` int32, `page * page_size + slot` of every token of every tile.
        partials: `[capacity]` int32, indices of partial results, grouped by row: one from each of the row's tiles, in
            the order in which they are to be merged.
        merges: `[query rows + 1]` int32: row `r` merges `partials[merges[r]:merges[r + 1]]`, which is empty if a tile
            writes the row's final result.
    """

    rows: int
    tails: Tensor
    tiles: Tensor
    slots: Tensor
    partials: Tensor
    merges: Tensor


class Plan(NamedTuple):
    """All attention work of one forward step.

    A query at position `p` sees the cached tokens at positions `<= p` of every item that covers its row; its own
    token's K and V are in the cache before attention runs. The items that cover a row are disjoint and together
    hold the row's whole path, so that merging their partial results by log-sum-exp gives full attention. The same
    holds for the tiles.

    Items and tiles may extend past the positions of all of their rows, so that `positions` can advance on the device
    while the plan stays the same. Until a row's position gets there, those slots may hold anything, including NaN.

    Attributes:
        positions: `[rows]` int32, absolute position of each query row.
        items: `[items, 6]` int32, the columns of `WorkItem`.
        pages: `[pages]` int32, page ids, concatenated over the items.
        tiles: The same work in tiles, for sets that have a `Kernels.tiling`; if None, it is made from the items.
    """

    positions: Tensor
    items: Tensor
    pages: Tensor
    tiles: Tiles | None = None

    def to(self, device: torch.device) -> Plan:
        """Return the plan with its tables on `device`."""
        positions, items, pages, tiles = self
        if tiles is not None:
            tiles = Tiles(tiles.rows, *(table.to(device) for table in tiles[1:]))
        return Plan(positions.to(device), items.to(device), pages.to(device), tiles)
