"""Which tokens are read once in a tile of all their rows, and which once more by each that goes on from there.

The cost of a tree is a function of its stems. `f(v, a)`: the least cost of all rows that end in stem `v` or below it, when
the last `a` tokens above `v` come along, to be read wherever `v` is. `v` has a tile of its own for the `a + len(v)`
tokens, or none. Everything that grows from `v` either joins that tile, `f(u, 0)`, or takes the tokens along into tiles of
its own, `f(u, a + len(v))`. Rows that end in `v` read its tile.

What joins is a knapsack: a tile takes a limited number of rows, and the next one costs the tokens once more, from the L2
cache. Whatever gains more by joining than it can cost joins in any case; for the few that are left the knapsack is
solved exactly, which is what makes the whole a minimum over all choices.

A single row that grows with every step costs the same wherever its own tokens are read. They are left out, so that costs
stay true until a branch is born or ends, and then change along its path only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .stem import Joining, Stem
from .tile_cost import TileCost


_NOBODY = Joining(0, ())


class _Item(NamedTuple):
    """Equal things that may join a tile: what one gains by it, before the price of the tile; its rows; how many."""

    gain: float
    rows: int
    count: int
    stem: Stem | None


def solve(root: Stem, cost: TileCost) -> float:
    """Fill in `costs` and `joining` of `root`, and below it whatever is missing; returns the least cost.

    Args:
        root: Its stems know their rows; costs that are still known are taken for true.
        cost: The prices.
    """
    pending = [(root, 0)]
    while pending:
        stem, carried = pending[-1]
        if carried not in stem.costs:
            missing = _missing(stem, carried, cost)
            if missing:
                pending += missing
                continue
            if stem.stems:
                _choose(stem, carried, cost)
            else:
                _choose_twigs(stem, carried, cost)
        pending.pop()
    return root.costs[0]


def _missing(stem: Stem, carried: int, cost: TileCost) -> list[tuple[Stem, int]]:
    """What must be known before `f(stem, carried)`.

    Whatever grows from `stem` may take its tokens along, unless it certainly joins: if there is a minimum in which it
    does, whatever the rest does. Apart, it reads the tokens from memory once more. Joining costs a partial result per row,
    another one where a row would have needed none, and at most as many further tiles as its rows fill. And where nobody
    needs the tile anyway, all together must gain by opening it.
    """
    tokens = carried + stem.length
    partial = cost.partial * (2 if carried == stem.start else 1)
    saved = cost.first(tokens)
    branches = len(stem.twigs) + len(stem.stems)
    opens = cost.tile * cost.blocks(stem.rows) + partial * stem.rows
    certain = stem.own_rows > 0 or saved * (branches - 1) >= opens
    saved -= stem.own_rows * (partial - cost.partial)
    missing = []
    for upper in stem.stems:
        costs = upper.costs
        if 0 not in costs:
            missing.append((upper, 0))
        if tokens not in costs and not (certain and saved >= cost.tile * cost.blocks(upper.rows) + partial * upper.rows):
            missing.append((upper, tokens))
    return missing


def _choose_twigs(stem: Stem, carried: int, cost: TileCost) -> None:
    """Enter `f(stem, carried)` of a stem from which nothing but twigs grows."""
    ends, twigs = stem.own_rows, len(stem.twigs)
    tokens = carried + stem.length
    alone = carried == stem.start
    gain = cost.token * tokens - (2 if alone else 1) * cost.partial
    least = twigs * (cost.token * tokens + cost.tile + (0.0 if alone else cost.partial))
    joined = 0
    if gain > 0 and twigs:
        again = cost.again(tokens)
        joined = _equal_rows(gain, twigs, ends, cost.block, again)
        opened = least - joined * gain + cost.first(tokens) + again * cost.blocks(ends + joined) + cost.partial * ends
    if ends:
        least += cost.read(tokens, ends, partial=not alone)
    if joined and opened < least:
        stem.costs[carried], stem.joining[carried] = opened, Joining(joined, ())
    else:
        stem.costs[carried], stem.joining[carried] = least, _NOBODY


def _choose(stem: Stem, carried: int, cost: TileCost) -> None:
    """Enter `f(stem, carried)`, and who joins."""
    ends, twigs = stem.own_rows, len(stem.twigs)
    tokens = carried + stem.length
    if not tokens:
        stem.costs[0] = sum(upper.costs[0] for upper in stem.stems) + twigs * cost.tile
        stem.joining[0] = _NOBODY
        return
    alone = carried == stem.start
    again = cost.again(tokens)
    total = twigs * (cost.token * tokens + cost.tile + (0.0 if alone else cost.partial))
    gained, rows = 0.0, ends
    items: list[_Item] = []
    joined: list[Stem] = []
    certain = False
    for upper in stem.stems:
        with_tile = upper.costs[0] + cost.partial * upper.rows
        apart = upper.costs.get(tokens)
        if apart is None:
            certain = True
            apart = with_tile
        elif apart - with_tile < again * cost.blocks(upper.rows):
            if apart > with_tile:
                items.append(_Item(apart - with_tile, upper.rows, 1, upper))
            total += apart
            continue
        total += apart
        gained += apart - with_tile
        joined.append(upper)
        rows += upper.rows
    joined_twigs = 0
    gain = cost.token * tokens - (2 if alone else 1) * cost.partial
    if twigs and gain >= again:
        gained += gain * twigs
        rows += twigs
        joined_twigs = twigs
    elif twigs and gain > 0:
        items.append(_Item(gain, 1, twigs, None))
    for item, count in _pack(items, rows, cost.block, again):
        gained += item.gain * count
        rows += item.rows * count
        if item.stem is None:
            joined_twigs = count
        else:
            joined.append(item.stem)

    opened = total - gained + cost.first(tokens) + again * cost.blocks(rows) + cost.partial * ends
    closed = total + (cost.read(tokens, ends, partial=not alone) if ends else 0.0)
    if rows > ends and (certain or opened < closed):
        stem.costs[carried], stem.joining[carried] = opened, Joining(joined_twigs, tuple(joined))
    else:
        stem.costs[carried], stem.joining[carried] = closed, _NOBODY


def _pack(items: list[_Item], rows: int, block: int, again: float) -> list[tuple[_Item, int]]:
    """How many of each item join a tile that has `rows` rows without them: the most gain, less `again` for each block."""
    if not items:
        return []
    offered = sum(item.rows * item.count for item in items)
    if offered <= (-rows % block if rows else block):
        return [(item, item.count) for item in items]
    if len(items) == 1 and items[0].rows == 1:
        return [(items[0], _equal_rows(items[0].gain, items[0].count, rows, block, again))]

    best: NDArray[np.float64] = np.full(offered + 1, -np.inf)
    best[0] = 0
    steps: list[tuple[_Item, int, NDArray[np.bool_]]] = []
    for item in items:
        for count in _bundles(item.count):
            size = item.rows * count
            better = np.full(offered + 1, -np.inf)
            better[size:] = best[:-size] + item.gain * count
            takes = better > best
            best = np.where(takes, better, best)
            steps.append((item, count, takes))
    more = -(-(rows + np.arange(offered + 1)) // block) - -(-rows // block)
    size = int(np.argmax(best - again * more))
    chosen: dict[_Item, int] = {}
    for item, count, takes in reversed(steps):
        if takes[size]:
            chosen[item] = chosen.get(item, 0) + count
            size -= item.rows * count
    return list(chosen.items())


def _equal_rows(gain: float, count: int, rows: int, block: int, again: float) -> int:
    """`_pack` of single rows: what is free, then whole blocks or nothing, then what is left if it pays for its block."""
    free = -rows % block if rows else block
    if count <= free or gain >= again:
        return count
    taken, left = free, count - free
    if block * gain > again:
        taken += left // block * block
        left %= block
        if left * gain > again:
            taken += left
    return taken


def _bundles(count: int) -> list[int]:
    """Numbers whose sums are exactly 0 to `count`."""
    bundles = []
    size = 1
    while size < count:
        bundles.append(size)
        count -= size
        size *= 2
    return [*bundles, count]
