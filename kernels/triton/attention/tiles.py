"""From the items of a plan to the tiles of its attention, for plans that bring none."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...plan import Plan, Tiles, Tiling, WorkItem
from ...tile_tables import Ints, Runs, counted, tile_tables

_SHORTEST = 128
"""Tokens of the shortest pieces that a run is cut into: below it partial results cost as much traffic as the tokens."""

_GRAIN = 64
"""Pieces are multiples of this, so that only the last one of a run has a block of tokens that is not full."""

_RIDGE = 128
"""(Row, head) pairs at which the products with a token take as long as reading it: an A100 has 312 TFLOP/s for 2 TB/s,
an H100 990 for 3.4, 16-bit values have 2 bytes, and attention reaches less of its products' peak than of memory's."""


def cut(plan: Plan, page_size: int, group: int, tiling: Tiling) -> Tiles:
    """Cut the items of `plan` into tiles, enough of them to keep `tiling.workers` busy.

    Items of the same rows whose positions follow each other become one run of tokens. A run is cut by rows and, where
    it is long, by tokens; what lies behind all of a tile's rows is left out. This copies the plan to the host and waits
    for it: a step that is to be quick brings its tiles along.

    Args:
        plan: The work; its own `tiles` are not looked at.
        page_size: Slots of a page.
        group: Query heads per KV head.
        tiling: The choices of the device.
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
    """The slot in the cache of every token, item after item."""
    first_page, first_slot, _, length, *_ = items.T
    item, token = counted(length)
    page, slot = np.divmod(first_slot[item] + token, page_size)
    slots: Ints = pages[first_page[item] + page] * page_size + slot
    return slots


def _runs(items: Ints) -> Runs:
    """Sorted items, those joined that go on where the one before ends."""
    _, _, position, length, *_ = items.T
    goes_on = (items[1:, 4:] == items[:-1, 4:]).all(axis=1) & (position[1:] == position[:-1] + length[:-1])
    starts = np.flatnonzero(np.append(len(items) > 0, ~goes_on))
    first = (np.cumsum(length) - length)[starts]
    lengths = np.add.reduceat(length, starts)
    first_row, rows = items[starts, 4:].T
    return Runs(first, position[starts], lengths, first_row, rows, np.zeros_like(first))


def _rows_of_a_tile(runs: Runs, group: int, tiling: Tiling) -> int:
    """The cheapest choice, where a tile reads each of its tokens and multiplies it with as many rows as it may have."""

    def cost(rows: int) -> float:
        return _tokens(runs, rows) * (1 + rows * group / _RIDGE)

    return min(tiling.rows, key=cost)


def _tokens(runs: Runs, rows: int) -> int:
    """How many tokens all tiles of `rows` read."""
    return int((-(-runs.rows // rows) * runs.length).sum())


def _longest(runs: Runs, rows: int, workers: int) -> Ints:
    """Tokens of the pieces of each run, so that there are enough for all workers."""
    longest = max(_SHORTEST, -(-_tokens(runs, rows) // workers))
    pieces = -(-runs.length // longest)
    length: Ints = -(-runs.length // (pieces * _GRAIN)) * _GRAIN
    return length
