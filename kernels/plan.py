"""The attention plan: which queries read which run of cached tokens."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class WorkItem(NamedTuple):
    """One load of K and V for all its readers: a run of cached tokens times a range of query rows.

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
    """What a device takes at once, for whoever cuts work into tiles.

    Attributes:
        rows: Query rows of a tile, the choices in ascending order; one step uses one of them.
        workers: Tiles that run side by side when each KV head has one: resident blocks of the device / KV heads.
    """

    rows: tuple[int, ...]
    workers: int


class Tile(NamedTuple):
    """The work of one thread block per KV head: consecutive positions of one path, for a few rows that share them.

    Unlike those of a `WorkItem`, its tokens may lie anywhere: the end of one node and the start of the next.

    A tile of *tails* is one in which each row has tokens of its own: the last of its path, up to the row itself. Each
    has `width` places for them, one row after the other, and in what is left over, any slot of the plan.

    Attributes:
        first: Index into `Tiles.slots` of the slot of its first token.
        position: Absolute position of that token; in a tile of tails the largest `Tiles.tails` of its rows.
        length: Tokens; 0 in tiles that only fill the buffer. In a tile of tails `rows * width`.
        first_row: First query row that reads them.
        rows: Consecutive query rows that read them.
        partial: Index of its first row among the partial results, the other rows follow; -1 where all of its rows
            read nothing else, so that there is nothing to merge.
        width: Places of each row in a tile of tails, a power of two; 0 where all rows share all tokens.
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
        rows: Most query rows that a tile may have, one of `Tiling.rows`.
        tails: `[query rows]` int32, absolute position of the first token of each row's tail; anything in other rows.
        tiles: `[capacity, 7]` int32, the columns of `Tile`; tiles that are long come first, empty ones last.
        slots: `[capacity]` int32, `page * page_size + slot` of every token of every tile.
        partials: `[capacity]` int32, indices of partial results, those of the same row side by side: one from each of
            its tiles, in the order in which they are to be merged.
        merges: `[query rows + 1]` int32: row `r` merges `partials[merges[r]:merges[r + 1]]`, none where a tile writes
            its result.
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

    Items and tiles may go on behind the positions of all of their rows, so that `positions` can advance on the device
    while the plan stays: those slots may hold anything, NaN as well, until a row's position is there.

    Attributes:
        positions: `[rows]` int32, absolute position of each query row.
        items: `[items, 6]` int32, the columns of `WorkItem`.
        pages: `[pages]` int32, page ids, concatenated over the items.
        tiles: The same work for sets that have a `Kernels.tiling`; made from the items where it is missing.
    """

    positions: Tensor
    items: Tensor
    pages: Tensor
    tiles: Tiles | None = None
