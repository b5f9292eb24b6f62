"""Which tails share a tile: the last tokens of some rows, each of which reads its own alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np

from .forest import Even
from .tile_balance import SOONER, Costs, last_end, longest_pieces, piece_costs
from .tile_cost import TileCost
from .tile_cutting import Counts, Runs, Tails, counted, several_tiles
from .tile_tables import TileTables

ROOM = 8
"""Places that a tail has left at least: when one has none left, all tables are written anew."""

_NARROWEST = 16
"""Places of a tail at least."""

WIDEST = 128
"""Places of a tail at most: where one needs more, a tile of its own costs less than a tenth of what its tokens do."""

_PARTS = ((1, 1), (2, 3), (1, 2), (1, 3), (1, 4))
"""How many tails of a tile to try, in parts of the rows that it may have: many share its price, few keep workers
evenly busy."""


class _Open(NamedTuple):
    """A tile that tails are still put into: its first run, how many, the places of each, their tokens, the price."""

    first: int
    rows: int
    width: int
    tokens: int
    price: float


class Places(NamedTuple):
    """Where the slots of tails are written out, row by row and tile by tile.

    Attributes:
        run: `[tails]`, the run of each tail.
        first: `[tails]`, index into `Tiles.slots` of its first place.
        width: `[tails]`, its places.
        tiles: A run for each tile, of all of its places: it starts where the last of its tails does.
        end: Index behind the last place.
        room: Tokens that each tail may grow by.
    """

    run: Counts
    first: Counts
    width: Counts
    tiles: Runs
    end: int
    room: int

    @classmethod
    def behind(cls, used: int, runs: Runs, tails: Tails) -> Self:
        """Places for `tails`, which are `runs`, from index `used` on."""
        tile, number = counted(tails.rows)
        run, width = tails.first[tile] + number, tails.width[tile]
        sizes = tails.rows * tails.width
        first = used + np.cumsum(sizes) - sizes
        positions = np.zeros_like(sizes)
        np.maximum.at(positions, tile, runs.position[run])
        tiles = Runs(first, positions, sizes, runs.first_row[tails.first], tails.rows)
        room = int((width - runs.length[run]).min(initial=WIDEST))
        return cls(run, first[tile] + number * width, width, tiles, used + int(sizes.sum()), room)

    def write(self, runs: Runs, tables: TileTables) -> None:
        """Enter the slots, those of `runs` that are laid out already, and where each tail starts.

        Places that are left over repeat the last slot, whose numbers a kernel may load.
        """
        tables.extend_slots(self.end)
        tail, number = counted(self.width)
        run = self.run[tail]
        tables.slots[self.first[tail] + number] = tables.slots[
            runs.first[run] + np.minimum(number, runs.length[run] - 1)
        ]
        tables.tails.fill(0)
        tables.tails[runs.first_row[self.run]] = runs.position[self.run]


def shared(runs: Runs, twigs: int, cost: TileCost, most: int) -> Tails:
    """Put at most `most` tails of neighbouring rows into a tile, one after the other, as long as each makes it cheaper.

    All rows of a tile are multiplied with all of its places, the empty ones too, which a tile of few rows does not gain
    back if its tails are short.

    Args:
        runs: Those of twigs come first, in the order of their rows.
        twigs: How many these are.
        cost: The prices.
        most: Rows of a tile, not more than `cost.block`.
    """
    tiles: list[_Open] = []
    each = max(cost.token, cost.product)
    opened: _Open | None = None
    at = -1
    for i, (length, row) in enumerate(zip(runs.length[:twigs].tolist(), runs.first_row[:twigs].tolist(), strict=True)):
        width = _width(length)
        if width > WIDEST:
            opened = None
            continue
        alone = each * length + cost.tile
        if opened is not None and opened.rows < most and row == at + 1:
            rows, tokens, width = opened.rows + 1, opened.tokens + length, max(opened.width, width)
            price = max(cost.token * tokens, cost.product * (rows * width)) + cost.tile
            if price < opened.price + alone:
                opened = _Open(opened.first, rows, width, tokens, price)
                if rows > 2:
                    tiles.pop()
                tiles.append(opened)
                at = row
                continue
        opened, at = _Open(i, 1, _width(length), length, alone), row
    columns = np.array([tile[:4] for tile in tiles], np.int64).reshape(-1, 4).T
    return Tails(*columns)


def even_tails(runs: Runs, twigs: int, cost: TileCost, workers: int, apart: Even) -> Even:
    """`apart`, in which each run has tiles of its own, or what is better where tails share tiles: it ends no later."""

    def judged(even: Even) -> float:
        return even.end + even.total / workers

    best = apart
    for together in _numbers(cost.block):
        tails = shared(runs, twigs, cost, together)
        if not len(tails.rows):
            break
        costs = shared_costs(runs, cost, longest_pieces(runs, cost, apart.most), tails)
        even = Even(apart.most, last_end(costs, workers), float(costs.sum()), together)
        if even.end <= apart.end and judged(even) < SOONER * judged(best):
            best = even
    return best


def shared_costs(runs: Runs, cost: TileCost, longest: Counts, tails: Tails) -> Costs:
    """`[tiles]`, what each tile costs when all runs but `tails` are cut into pieces of at most `longest` tokens."""
    several = several_tiles(runs, -(-runs.length // longest))
    apart = tails.others(len(runs.length))
    others = Runs(*(column[apart] for column in runs))
    merged = np.array(
        [
            several[first : first + rows].any()
            for first, rows in zip(tails.first.tolist(), tails.rows.tolist(), strict=True)
        ]
    )
    products = cost.product * (tails.rows * tails.width)
    costs = np.maximum(cost.token * tails.tokens, products) + cost.tile + cost.partial * tails.rows * merged
    return np.concatenate((piece_costs(others, cost, longest[apart], several[apart]), costs))


def _width(length: int) -> int:
    """Places of a tail of so many tokens."""
    width = _NARROWEST
    while width < length + ROOM:
        width *= 2
    return width


def _numbers(block: int) -> Iterator[int]:
    """How many tails of a tile to try, at most `block`."""
    numbers = (block * part // whole for part, whole in _PARTS)
    yield from dict.fromkeys(number for number in numbers if number > 1)
