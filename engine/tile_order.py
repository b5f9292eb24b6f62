"""From the choices on a tree of stems to the order of the query rows, and to who reads what."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .stem import Joining, Stem, Twig


class TwigGroup(NamedTuple):
    """Twigs of one stem that take the same tokens along, in consecutive rows.

    Attributes:
        base: Their stem.
        carried: How many of the last tokens of its path they take along.
        first_row: The row of the first one.
        count: How many twigs.
    """

    base: Stem
    carried: int
    first_row: int
    count: int


class StemRun(NamedTuple):
    """Tokens of a stem, and some before it, that are read in tiles of their own.

    Attributes:
        stem: The stem.
        carried: How many tokens before it belong to the run; negative if its first ones do not.
        left: How many of its last tokens do not.
        first_row: First query row that reads them.
        rows: How many do, one after the other.
    """

    stem: Stem
    carried: int
    left: int
    first_row: int
    rows: int


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


class Share(NamedTuple):
    """How the tokens of a stem, and those that come along, are shared out.

    Attributes:
        joining: Whose rows read them in tiles of the stem, besides the rows that end in it.
        left: How many of the last ones are kept back, for all who go on or end there.
    """

    joining: Joining
    left: int


_NOBODY = Joining(0, ())


def cheapest(stem: Stem, carried: int) -> Share:
    """The minimum that `tile_merging` has found."""
    return Share(stem.joining[carried], 0)


def by_chunks(chunk: int) -> Callable[[Stem, int], Share]:
    """Whole chunks at multiples of `chunk` tokens are shared by all who read them; the rest is left for each branch."""

    def share(stem: Stem, carried: int) -> Share:
        if stem.base is None:
            return Share(_NOBODY, 0)
        left = (stem.start + stem.length) % chunk
        if left >= carried + stem.length:
            return Share(_NOBODY, 0)
        return Share(Joining(len(stem.twigs), tuple(stem.stems)), left)

    return share


def row_order(root: Stem, share: Callable[[Stem, int], Share]) -> RowOrder:
    """Walk through the tree, so that the rows of every tile are neighbours.

    Below a stem come the twigs that take its tokens along, then all rows of its tile, then the stems that take them along.
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
        tokens = carried + stem.length
        apart = len(stem.twigs) - joined_twigs
        own_rows = stem.own_rows
        tile_rows = own_rows + joined_twigs + (sum(one.rows for one in joined) if joined else 0)
        if apart:
            twigs += stem.twigs if not joined_twigs else list(stem.twigs)[joined_twigs:]
            groups.append(TwigGroup(stem, tokens, rows, apart))
            rows += apart
        if tile_rows and tokens:
            runs.append(StemRun(stem, carried, left, rows, tile_rows))
        if own_rows:
            if left:
                runs.append(StemRun(stem, left - stem.length, 0, rows, own_rows))
            ends.append((stem, rows))
            rows += own_rows
        if joined_twigs:
            twigs += stem.twigs if not apart else list(stem.twigs)[:joined_twigs]
            groups.append(TwigGroup(stem, left, rows, joined_twigs))
            rows += joined_twigs
        if stem.stems:
            if len(joined) < len(stem.stems):
                aside = set(joined)
                pending += [(one, tokens) for one in stem.stems if one not in aside]
            pending += [(one, left) for one in joined]
    return RowOrder(twigs, groups, runs, ends, rows)
