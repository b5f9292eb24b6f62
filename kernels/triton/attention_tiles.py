"""From the items of a plan to the tiles of its attention, for plans that bring none."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..plan import Plan, Tile, Tiles, Tiling, WorkItem

_SHORTEST = 128
"""Tokens of the shortest pieces that a run is cut into: below it partial results cost as much traffic as the tokens."""

_GRAIN = 64
"""Pieces are multiples of this, so that only the last one of a run has a block of tokens that is not full."""

_RIDGE = 128
"""(Row, head) pairs at which the products with a token take as long as reading it: an A100 has 312 TFLOP/s for 2 TB/s,
an H100 990 for 3.4, 16-bit values have 2 bytes, and attention reaches less of its products' peak than of memory's."""

_Columns = NDArray[np.int64]
_FIRST, _POSITION, _LENGTH, _FIRST_ROW, _ROWS, _PARTIAL, _WIDTH = range(len(Tile._fields))


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
    tiles = _seen(_pieces(runs, rows, tiling.workers), _host(plan.positions))
    tiles = tiles[np.argsort(-tiles[:, _LENGTH], kind="stable")]
    partials, merges = _merges(tiles, len(plan.positions))
    no_tails = np.zeros(len(plan.positions), np.int64)
    return Tiles(rows, *(_int32(x, plan.items.device) for x in (no_tails, tiles, slots, partials, merges)))


def _host(x: Tensor) -> _Columns:
    return x.cpu().numpy().astype(np.int64)


def _int32(x: _Columns, device: torch.device) -> Tensor:
    return torch.from_numpy(x.astype(np.int32)).to(device)


def _counted(counts: _Columns) -> tuple[_Columns, _Columns]:
    """Whose each unit is and which of its: counts `[2, 3]` give `[0, 0, 1, 1, 1]` and `[0, 1, 0, 1, 2]`."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]


def _slots(items: _Columns, pages: _Columns, page_size: int) -> _Columns:
    """The slot in the cache of every token, item after item."""
    first_page, first_slot, _, length, *_ = items.T
    item, token = _counted(length)
    page, slot = np.divmod(first_slot[item] + token, page_size)
    slots: _Columns = pages[first_page[item] + page] * page_size + slot
    return slots


def _runs(items: _Columns) -> _Columns:
    """Sorted items, those joined that go on where the one before ends; one run is one tile of any size."""
    _, _, position, length, *_ = items.T
    goes_on = (items[1:, 4:] == items[:-1, 4:]).all(axis=1) & (position[1:] == position[:-1] + length[:-1])
    starts = np.flatnonzero(np.append(len(items) > 0, ~goes_on))
    runs = np.full((len(starts), len(Tile._fields)), -1)
    runs[:, _FIRST] = (np.cumsum(length) - length)[starts]
    runs[:, _POSITION] = position[starts]
    runs[:, _LENGTH] = np.add.reduceat(length, starts)
    runs[:, [_FIRST_ROW, _ROWS]] = items[starts, 4:]
    runs[:, _WIDTH] = 0
    return runs


def _rows_of_a_tile(runs: _Columns, group: int, tiling: Tiling) -> int:
    """The cheapest choice, where a tile reads each of its tokens and multiplies it with as many rows as it may have."""

    def cost(rows: int) -> float:
        return _tokens(runs, rows) * (1 + rows * group / _RIDGE)

    return min(tiling.rows, key=cost)


def _tokens(runs: _Columns, rows: int) -> int:
    """How many tokens all tiles of `rows` read."""
    return int((-(-runs[:, _ROWS] // rows) * runs[:, _LENGTH]).sum())


def _pieces(runs: _Columns, rows: int, workers: int) -> _Columns:
    """Cut runs by tokens, then by rows: the tiles of the same tokens are neighbours, which meet in the cache."""
    longest = max(_SHORTEST, -(-_tokens(runs, rows) // workers))
    pieces = -(-runs[:, _LENGTH] // longest)
    length = -(-runs[:, _LENGTH] // (pieces * _GRAIN)) * _GRAIN
    run, piece = _counted(-(-runs[:, _LENGTH] // length))
    tiles, skipped = runs[run], piece * length[run]
    tiles[:, _FIRST] += skipped
    tiles[:, _POSITION] += skipped
    tiles[:, _LENGTH] = np.minimum(length[run], tiles[:, _LENGTH] - skipped)

    whole, part = _counted(-(-tiles[:, _ROWS] // rows))
    tiles, skipped = tiles[whole], part * rows
    tiles[:, _FIRST_ROW] += skipped
    tiles[:, _ROWS] = np.minimum(rows, tiles[:, _ROWS] - skipped)
    return tiles


def _seen(tiles: _Columns, positions: _Columns) -> _Columns:
    """The tiles without the tokens that lie behind all of their rows."""
    ranges = np.column_stack((tiles[:, _FIRST_ROW], tiles[:, _FIRST_ROW] + tiles[:, _ROWS])).ravel()
    last = np.maximum.reduceat(np.append(positions, 0), ranges)[::2]
    tiles[:, _LENGTH] = np.minimum(tiles[:, _LENGTH], last + 1 - tiles[:, _POSITION])
    return tiles[tiles[:, _LENGTH] > 0]


def _merges(tiles: _Columns, rows: int) -> tuple[_Columns, _Columns]:
    """Number the partial results in `tiles`; returns `Tiles.partials`, by row and position, and `Tiles.merges`."""
    tile, number = _counted(tiles[:, _ROWS])
    readers = np.bincount(tiles[tile, _FIRST_ROW] + number, minlength=rows)
    shared = np.append(0, np.cumsum(readers > 1))
    partial = shared[tiles[:, _FIRST_ROW] + tiles[:, _ROWS]] > shared[tiles[:, _FIRST_ROW]]
    counts = np.where(partial, tiles[:, _ROWS], 0)
    tiles[:, _PARTIAL] = np.where(partial, np.cumsum(counts) - counts, -1)

    tile, number = _counted(counts)
    row = tiles[tile, _FIRST_ROW] + number
    return np.lexsort((tiles[tile, _POSITION], row)), np.append(0, np.cumsum(np.bincount(row, minlength=rows)))
