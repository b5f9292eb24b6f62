"""Which tokens are read once in a tile of all their rows, and which once more by each that goes on from there.

The cost of a tree is a function of its stems. `f(v, a)`: the least cost of all rows that end in stem `v` or below it,
when the last `a` tokens above `v` come along, to be read wherever `v` is. `v` has a tile of its own for the `a +
len(v)` tokens, or none. Everything that grows from `v` either joins that tile, `f(u, 0)`, or takes the tokens along
into tiles of its own, `f(u, a + len(v))`. Rows that end in `v` read its tile.

What joins is a knapsack: a tile takes a limited number of rows, and the next one costs the tokens once more, from the
L2 cache. Whatever gains more by joining than it can cost joins in any case; for the few that are left the knapsack is
solved exactly, which is what makes the whole a minimum over all choices.

A single row that grows with every step costs the same wherever its own tokens are read. They are left out, so that
costs stay true until a branch is born or ends, and then change along its path only.
"""

from __future__ import annotations

from functools import lru_cache
from math import inf
from typing import NamedTuple

from .stem import NOBODY, Joining, Stem
from .tile_cost import L2_SHARE, TileCost


class _Item(NamedTuple):
    """A stem that may join a tile.

    Attributes:
        gain: What is gained if it does, before the price of further tiles.
        rows: Its rows.
        stem: The stem.
    """

    gain: float
    rows: int
    stem: Stem


_FEW = 6
"""As many items are packed by trying all subsets, more by a table."""


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
            _choose(stem, carried, cost)
        pending.pop()
    return root.costs[0]


def _missing(stem: Stem, carried: int, cost: TileCost) -> list[tuple[Stem, int]]:
    """What must be known before `f(stem, carried)`, and cannot be entered at once.

    Whatever grows from `stem` may take its tokens along, unless it certainly joins: if there is a minimum in which it
    does, whatever the rest does. Apart, it reads the tokens from memory once more. Joining costs a partial result per
    row, another one where a row would have needed none, and at most as many further tiles as its rows fill. And where
    nobody needs the tile anyway, all together must gain by opening it.
    """
    tokens = carried + stem.length
    partial = cost.partial * (2 if carried == stem.start else 1)
    saved = cost.first(tokens)
    tile, block, ends = cost.tile, cost.block, stem.own_rows
    opens = tile * -(-stem.rows // block) + partial * stem.rows
    certain = ends > 0 or saved * (len(stem.twigs) + len(stem.stems) - 1) >= opens
    saved -= ends * (partial - cost.partial)
    missing: list[tuple[Stem, int]] = []
    for upper in stem.stems:
        costs, rows = upper.costs, upper.rows
        if 0 not in costs:
            if upper.stems:
                missing.append((upper, 0))
            else:
                _choose(upper, 0, cost)
        if tokens not in costs and not (certain and saved >= tile * -(-rows // block) + partial * rows):
            if upper.stems:
                missing.append((upper, tokens))
            else:
                _choose(upper, tokens, cost)
    return missing


def _choose(stem: Stem, carried: int, cost: TileCost) -> None:
    """Enter `f(stem, carried)`, and who joins."""
    ends, twigs, tokens = stem.own_rows, len(stem.twigs), carried + stem.length
    alone = carried == stem.start
    if not stem.stems:
        stem.costs[carried], stem.joining[carried] = _of_twigs(twigs, ends, tokens, alone, cost)
        return
    if not tokens:
        stem.costs[0] = sum(upper.costs[0] for upper in stem.stems) + twigs * cost.tile
        stem.joining[0] = NOBODY
        return
    token, partial, tile, _, block = cost
    along = token * tokens
    again = along * L2_SHARE + tile
    total = twigs * (along + tile + (0.0 if alone else partial))
    gained, rows = 0.0, ends
    items: list[_Item] = []
    joined: list[Stem] = []
    certain = False
    for upper in stem.stems:
        with_tile = upper.costs[0] + partial * upper.rows
        apart = upper.costs.get(tokens)
        if apart is None:
            certain = True
            apart = with_tile
        elif apart - with_tile < again * -(-upper.rows // block):
            if apart > with_tile:
                items.append(_Item(apart - with_tile, upper.rows, upper))
            total += apart
            continue
        total += apart
        gained += apart - with_tile
        joined.append(upper)
        rows += upper.rows
    gain = along - (2 if alone else 1) * partial
    taken, joined_twigs = _pack(items, gain, twigs if gain > 0 else 0, rows, block, again)
    gained += gain * joined_twigs
    rows += joined_twigs
    for item in taken:
        gained += item.gain
        rows += item.rows
        joined.append(item.stem)
    opened = total - gained + along * (1 - L2_SHARE) + again * -(-rows // block) + partial * ends
    closed = total + (cost.read(tokens, ends, partial=not alone) if ends else 0.0)
    if rows > ends and (certain or opened < closed):
        stem.costs[carried], stem.joining[carried] = opened, Joining(joined_twigs, tuple(joined))
    else:
        stem.costs[carried], stem.joining[carried] = closed, NOBODY


@lru_cache(maxsize=1 << 16)
def _of_twigs(twigs: int, ends: int, tokens: int, alone: bool, cost: TileCost) -> tuple[float, Joining]:
    """`f` of a stem from which nothing but twigs grows, and how many join.

    Args:
        twigs: How many there are.
        ends: Rows that end in the stem.
        tokens: Of the stem and of what comes along.
        alone: Whether that is the whole path.
        cost: The prices.
    """
    least = twigs * (cost.token * tokens + cost.tile + (0.0 if alone else cost.partial))
    gain = cost.token * tokens - (2 if alone else 1) * cost.partial
    joined, opened = 0, inf
    if gain > 0 and twigs:
        again = cost.again(tokens)
        joined = _equal_rows(gain, twigs, ends, cost.block, again)
        opened = least - joined * gain + cost.first(tokens) + again * cost.blocks(ends + joined) + cost.partial * ends
    if ends:
        least += cost.read(tokens, ends, partial=not alone)
    return (opened, Joining(joined, ())) if joined and opened < least else (least, NOBODY)


def _pack(items: list[_Item], gain: float, twigs: int, rows: int, block: int, again: float) -> tuple[list[_Item], int]:
    """Who joins a tile that has `rows` rows without them: the most gain, less `again` for every block of rows.

    Args:
        items: Stems that may join.
        gain: Of a twig that joins.
        twigs: How many twigs may.
        rows: Rows that there are in any case.
        block: Rows of a block.
        again: The price of a block.

    Returns:
        The stems, and how many twigs.
    """
    if not items:
        return items, _equal_rows(gain, twigs, rows, block, again) if twigs else 0
    offered = sum(item.rows for item in items)
    if offered + twigs <= (-rows % block if rows else block):
        return items, twigs
    packings = _subsets(items) if len(items) <= _FEW else _best_of_each_size(items)
    best, most = -inf, (packings[0], 0)
    for packing in packings:
        filled = rows + packing[1]
        joined = _equal_rows(gain, twigs, filled, block, again) if twigs else 0
        value = packing[0] + gain * joined - again * -(-(filled + joined) // block)
        if value > best:
            best, most = value, (packing, joined)
    (_, _, taken), joined = most
    return [item for i, item in enumerate(items) if taken >> i & 1], joined


_Packing = tuple[float, int, int]
"""Gain and rows of some items, and which they are: bit `i` stands for item `i`."""


def _subsets(items: list[_Item]) -> list[_Packing]:
    packings: list[_Packing] = [(0.0, 0, 0)]
    for i, item in enumerate(items):
        packings += [(gain + item.gain, rows + item.rows, taken | 1 << i) for gain, rows, taken in packings]
    return packings


def _best_of_each_size(items: list[_Item]) -> list[_Packing]:
    """For every number of rows that some items have, the items of so many rows that gain most."""
    best: dict[int, _Packing] = {0: (0.0, 0, 0)}
    for i, item in enumerate(items):
        for gain, rows, taken in list(best.values()):
            more = (gain + item.gain, rows + item.rows, taken | 1 << i)
            if more[0] > best.get(more[1], (-inf,))[0]:
                best[more[1]] = more
    return list(best.values())


def _equal_rows(gain: float, count: int, rows: int, block: int, again: float) -> int:
    """`_pack` of single rows: what is free, then whole blocks or nothing, then the rest if it pays for its block."""
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
