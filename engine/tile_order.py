"""From the choices on a tree of stems to the order of the query rows, and to who reads what."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .stem import NOBODY, Joining, Stem, Twig
from .tile_cutting import Counts, Runs

TwigGroup = tuple[Stem, int, int, int]
"""Twigs of one stem, in consecutive rows: the stem; how many of the last tokens of its path they take along; the row of
the first one; how many there are."""

StemRun = tuple[Stem, int, int, int, int]
"""Tokens of a stem, and some before it, that are read in tiles of their own: the stem; how many tokens before it belong
to the run, a negative number if its own first ones do not; how many of its last ones do not; the first row that reads
them; how many rows do, one after the other."""


class RowOrder(NamedTuple):
    """All rows of a step.

    Attributes:
        twigs: In the order of their rows.
        groups: The same twigs, in groups.
        runs: What stems read.
        ends: Stems in which rows end, with the first of these rows.
        rows: How many rows there are.
    """

    twigs: list[Twig]
    groups: list[TwigGroup]
    runs: list[StemRun]
    ends: list[tuple[Stem, int]]
    rows: int


Share = Callable[[Stem, int], tuple[Joining, int]]
"""How the tokens of a stem, and so many that come along, are shared out: who joins its tile, besides the rows that end
in it, and how many of the last tokens are left for each who goes on or ends there."""


def cheapest(stem: Stem, carried: int) -> tuple[Joining, int]:
    """The minimum that `tile_merging` has found."""
    return stem.joining[carried], 0


def by_chunks(chunk: int) -> Share:
    """Whole chunks at multiples of `chunk` tokens are shared by all who read them; the rest is left for each branch."""

    def share(stem: Stem, carried: int) -> tuple[Joining, int]:
        left = (stem.start + stem.length) % chunk
        if stem.base is None or left >= carried + stem.length:
            return NOBODY, 0
        return Joining(len(stem.twigs), tuple(stem.stems)), left

    return share


def row_order(root: Stem, share: Share) -> RowOrder:
    """Walk through the tree, so that the rows of every tile are neighbours.

    From a stem grow the twigs that take its tokens along, then come all rows of its tile, then the stems that take them
    along.
    """
    twigs: list[Twig] = []
    groups: list[TwigGroup] = []
    runs: list[StemRun] = []
    ends: list[tuple[Stem, int]] = []
    rows = 0
    pending = [(root, 0)]
    while pending:
        stem, carried = pending.pop()
        (joined_twigs, joined), left = share(stem, carried)
        own_rows = stem.own_rows
        tokens = carried + stem.length
        apart = len(stem.twigs) - joined_twigs
        if apart:
            twigs += list(stem.twigs)[joined_twigs:] if joined_twigs else stem.twigs
            groups.append((stem, tokens, rows, apart))
            rows += apart
        tile_rows = own_rows + joined_twigs
        for upper in joined:
            tile_rows += upper.rows
        if tile_rows and tokens:
            runs.append((stem, carried, left, rows, tile_rows))
        if own_rows:
            if left:
                runs.append((stem, left - stem.length, 0, rows, own_rows))
            ends.append((stem, rows))
            rows += own_rows
        if joined_twigs:
            twigs += list(stem.twigs)[:joined_twigs] if apart else stem.twigs
            groups.append((stem, left, rows, joined_twigs))
            rows += joined_twigs
        for upper in stem.stems:
            if upper not in joined:
                pending.append((upper, tokens))
        for upper in joined:
            pending.append((upper, left))
    return RowOrder(twigs, groups, runs, ends, rows)


def runs_of(order: RowOrder, clock: int) -> Runs:
    """What is read together: first that of the twigs, in the order of their rows, then that of the stems.

    Args:
        order: Its twigs and stems have their regions.
        clock: The `StemTree.clock`.
    """
    groups = np.array([group[1:] for group in order.groups], np.int64).reshape(-1, 3)
    carried, first_row, rows = groups.T
    carried = np.repeat(carried, rows)
    twigs = (
        np.array([twig.region for twig in order.twigs], np.int64),
        np.array([twig.start for twig in order.twigs], np.int64) - carried,
        np.array([twig.span for twig in order.twigs], np.int64) + clock + carried,
        np.repeat(first_row - (np.cumsum(rows) - rows), rows) + np.arange(len(order.twigs)),
        np.ones(len(order.twigs), np.int64),
    )
    stems = np.array(
        [
            (stem.region + stem.carried - carried, stem.start - carried, carried + stem.length - left, row, rows)
            for stem, carried, left, row, rows in order.runs
        ],
        np.int64,
    ).reshape(-1, len(Runs._fields))
    return Runs(*(np.concatenate(both) for both in zip(twigs, stems.T, strict=True)))


def positions_of(order: RowOrder, runs: Runs) -> Counts:
    """`[rows]`, where each row stands: a twig's at the end of all that it reads. `runs` are those of `order`."""
    positions = np.empty(order.rows, np.int64)
    twigs = len(order.twigs)
    positions[runs.first_row[:twigs]] = (runs.position + runs.length - 1)[:twigs]
    for stem, row in order.ends:
        at = row
        for reader in stem.ends:
            begin = reader.leaf.start + reader.first
            positions[at : at + reader.rows] = np.arange(begin, begin + reader.rows)
            at += reader.rows
    return positions
