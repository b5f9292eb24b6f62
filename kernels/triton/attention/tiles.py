"""Cuts the work items of a plan into tiles, for plans that come without tiles."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...plan import Plan, Tiles, Tiling, WorkItem
from ...plan.tile_tables import Ints, Runs, counted, tile_tables

_SHORTEST = 128
"""Minimum tokens of a piece of a long run: in shorter pieces, partial results cost as much traffic as the tokens."""

_GRAIN = 64
"""Lengths of pieces are multiples of this, so that only the last piece of a run has an incomplete block of tokens."""

_RIDGE = 128
"""(Row, head) pairs at which multiplying them with a token takes as long as reading it: an A100 has 312 TFLOP/s for
2 TB/s, an H100 990 for 3.4, 16-bit values have 2 bytes, and attention gets closer to peak bandwidth than peak FLOP/s.
"""


def cut(plan: Plan, page_size: int, group: int, tiling: Tiling) -> Tiles:
    """Cut the items of `plan` into tiles, enough of them to keep `tiling.workers` busy.

    Items with the same rows and consecutive positions become one run of tokens. A run is cut by rows and, if it is
    long, by tokens; tokens at positions after those of all rows of a tile are left out. This copies the plan to the
    host and waits for it, so a step that must be fast should bring its own tiles.

    Args:
        plan: The work; its own `tiles` are ignored.
        page_size: Slots per page.
        group: Query heads per KV head.
        tiling: The tile sizes that the device supports, and how many tiles it runs at once.
    """
    items = _host(plan.items).reshape(-1, len(WorkItem._fields))
    item = dict(zip(WorkItem._fields, items.T, strict=True))
    items = items[np.lexsort((item["position"], item["rows"], item["first_row"]))]
    slots = _slots(items, _host(plan.pages), page_size)
    runs = _runs(items)
    rows = _rows_of_a_tile(runs, group, tiling)
    tables = tile_tables(runs, rows, _longest(runs, rows, tiling.workers), _host(plan.positions))
    no_tails = np.zeros(len(plan.positions), np.int32)
    columns = (no_tails, tables.tiles, slots.astype(np.int32), tables.partials, tables.merges)
    return Tiles(rows, *(torch.from_numpy(column).to(plan.items.device) for column in columns))


def _host(x: Tensor) -> Ints:
    return x.cpu().numpy().astype(np.int64)


def _slots(items: Ints, pages: Ints, page_size: int) -> Ints:
    """The cache slot of every token, item by item."""
    first_page, first_slot, _, length, *_ = items.T
    item, token = counted(length)
    page, slot = np.divmod(first_slot[item] + token, page_size)
    slots: Ints = pages[first_page[item] + page] * page_size + slot
    return slots


def _runs(items: Ints) -> Runs:
    """Join sorted items that continue where the one before ends."""
    _, _, position, length, *_ = items.T
    goes_on = (items[1:, 4:] == items[:-1, 4:]).all(axis=1) & (position[1:] == position[:-1] + length[:-1])
    starts = np.flatnonzero(np.append(len(items) > 0, ~goes_on))
    first = (np.cumsum(length) - length)[starts]
    lengths = np.add.reduceat(length, starts)
    first_row, rows = items[starts, 4:].T
    return Runs(first, position[starts], lengths, first_row, rows, np.zeros_like(first))


def _rows_of_a_tile(runs: Runs, group: int, tiling: Tiling) -> int:
    """The cheapest number of rows per tile, if each tile multiplies every token with all rows that it can have."""

    def cost(rows: int) -> float:
        return _tokens(runs, rows) * (1 + rows * group / _RIDGE)

    return min(tiling.rows, key=cost)


def _tokens(runs: Runs, rows: int) -> int:
    """How many tokens all tiles read together if each has up to `rows` rows."""
    return int((-(-runs.rows // rows) * runs.length).sum())


def _longest(runs: Runs, rows: int, workers: int) -> Ints:
    """The length of each run's pieces in tokens, such that there are enough pieces for all workers."""
    longest = max(_SHORTEST, -(-_tokens(runs, rows) // workers))
    pieces = -(-runs.length // longest)
    length: Ints = -(-runs.length // (pieces * _GRAIN)) * _GRAIN
    return length
