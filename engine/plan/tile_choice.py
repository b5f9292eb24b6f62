"""Which rows of a round read which tokens together, and in what pieces."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, hypot, sqrt
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels.tile_tables import Ints, counted, readings
from .segments import Segments
from .tile_cost import BLOCK_TOKENS, TileCost, Work, modelled_us

_WIDEST = 256
"""Tokens of the longest private suffix that may share a tile with others."""

_CANDIDATES = 2
"""Numbers of rows per tile that are looked at closely."""

_OPENING = 1.5
"""What a tile more costs the rows that read it, to what it takes of a worker's time: they are merged later. Of 0.3 to
6, this is the best on the trees of `make bench-bytes`, and not by much."""

_OF_WORK, _OF_LATENCY = (0.7, 1.2), (1.0, 1.5)
"""Longest tiles that are tried, in parts of what each worker has to do, and of what makes the latency least. More of
them gain 0.2 % on the trees of `make bench-bytes`."""


class Reads(NamedTuple):
    """Runs of tokens, each read by the same rows; private suffixes come first, in the order of their rows.

    Attributes:
        segment: `[runs]`, the segment that the run ends in.
        before: `[runs]`, how many of the tokens before that segment belong to it; where a run begins inside of its
            segment, less than 0.
        length: `[runs]`, its tokens.
        first_row: `[runs]`, the first row that reads it.
        rows: `[runs]`, how many do, one after the other.
    """

    segment: Ints
    before: Ints
    length: Ints
    first_row: Ints
    rows: Ints


class Packs(NamedTuple):
    """Private suffixes that share tiles.

    Attributes:
        first: `[packs]`, number of the first of the runs in `Reads`; the others follow, as their rows do.
        rows: `[packs]`, how many there are.
        width: `[packs]`, `Tile.width`.
    """

    first: Ints
    rows: Ints
    width: Ints

    @property
    def blocks(self) -> Ints:
        """`[packs]`, blocks of tokens of each tile."""
        return -(-self.rows * self.width // BLOCK_TOKENS)


NO_PACKS = Packs(*np.empty((3, 0), np.int64))


class TileChoice(NamedTuple):
    """What is read in which tiles.

    Attributes:
        us: How long that takes in the model.
        cost: The prices, and how many rows a tile has.
        reads: The runs.
        packs: The runs that share tiles.
        most: Blocks of tokens of a tile at most.
    """

    us: float
    cost: TileCost
    reads: Reads
    packs: Packs
    most: int


def choose(segments: Segments, costs: Sequence[TileCost], query_rows: int) -> TileChoice:
    """The best of some ways to read `segments`.

    Few rows per tile keep more workers busy, and multiply fewer queries that are not there; many read shared tokens
    less often. Of the `costs` for different numbers, those that look best for shared segments as they are get a closer
    look. Tiles of few blocks make the workers end at the same time, those of many have less to merge.
    """
    tokens = int(segments.length.sum())
    longest = float((segments.position + segments.length).max()) / BLOCK_TOKENS
    found: list[TileChoice] = []
    for cost in sorted(costs, key=lambda cost: _first_guess(segments, cost))[:_CANDIDATES]:
        reads = shared(segments, cost)
        packs = packed(reads, cost)
        busy = float((-(-reads.length // BLOCK_TOKENS) * -(-reads.rows // cost.rows)).sum()) / cost.workers
        quickest = sqrt(longest * cost.merge / cost.wait)

        def choice(packs: Packs, most: int, reads: Reads = reads, cost: TileCost = cost) -> TileChoice:
            us = modelled_us(cost, work_for(reads, packs, cost, most, query_rows, tokens))
            return TileChoice(us, cost, reads, packs, most)

        sizes = [busy * part for part in _OF_WORK] + [quickest * part for part in _OF_LATENCY]
        of_all = [choice(split(packs, most), most) for most in {max(1, ceil(size)) for size in sizes}]
        found += [*of_all, choice(NO_PACKS, min(of_all, key=attrgetter("us")).most)]
    return min(found, key=attrgetter("us"))


def _first_guess(segments: Segments, cost: TileCost) -> float:
    """About how long the tiles take, if private suffixes share them and short segments are read with longer ones."""
    blocks, rows = segments.length / BLOCK_TOKENS, segments.rows
    tiles = -(-rows // cost.rows)
    fixed = np.minimum(tiles * (cost.tile + cost.partial), 2 * cost.block * blocks)
    fixed = np.where(rows > 1, fixed, (cost.tile + cost.partial) / cost.rows)
    busy = float((tiles * blocks * cost.block + fixed).sum())
    longest = float((segments.position + segments.length).max()) / BLOCK_TOKENS
    return hypot(busy / cost.workers, sqrt(cost.wait * cost.merge * longest) + 2 * cost.merge)


def shared(segments: Segments, cost: TileCost) -> Reads:
    """Who reads what, if segments for which tiles of their own do not pay are left to all who go on or end there."""
    tiles, ending = -(-segments.rows // cost.rows), -(-segments.ends // cost.rows)
    goes_on = np.bincount(segments.above + 1, tiles, len(tiles) + 1)[1:]
    again = ((goes_on + ending - tiles) * (cost.block / BLOCK_TOKENS)).tolist()
    saved = np.where(goes_on > 0, tiles * (cost.tile + cost.partial) * _OPENING, -np.inf).tolist()
    left = [0] * (len(tiles) + 1)  # the last one is that of -1, above the first segments
    before: list[int] = []
    for number, (upper, length) in enumerate(zip(segments.above.tolist(), segments.length.tolist(), strict=True)):
        came = left[upper]
        before.append(came)
        if (came + length) * again[number] < saved[number]:
            left[number] = came + length
    is_left = np.array(left[:-1]) > 0
    first_row = np.where(is_left, segments.end_row, segments.first_row)
    rows = np.where(is_left, segments.ends, segments.rows)
    kept = np.flatnonzero(rows > 0)
    kept = kept[np.lexsort((first_row[kept], rows[kept] > 1))]
    came_along = np.array(before)[kept]
    return Reads(kept, came_along, came_along + segments.length[kept], first_row[kept], rows[kept])


def packed(reads: Reads, cost: TileCost) -> Packs:
    """Put private suffixes of neighbouring rows into one tile, as long as each makes it cheaper."""
    singles = int(np.searchsorted(reads.rows, 2))
    short = np.flatnonzero(reads.length[:singles] <= _WIDEST)
    blocks = (-(-reads.length[short] // BLOCK_TOKENS)).tolist()
    widths = (1 << np.ceil(np.log2(reads.length[short])).astype(np.int64)).tolist()
    saved, most = (cost.tile + cost.partial) / cost.block, cost.rows
    found: list[tuple[int, int, int]] = []
    next_row = first = rows = width = held = 0
    for run, row, own, wide in zip(short.tolist(), reads.first_row[short].tolist(), blocks, widths, strict=True):
        wider = wide if wide > width else width
        together = -(-wider * (rows + 1) // BLOCK_TOKENS)
        if row == next_row and rows < most and together < held + own + saved:
            rows, width, held = rows + 1, wider, together
        else:
            if rows > 1:
                found.append((first, rows, width))
            first, rows, width, held = run, 1, wide, own
        next_row = row + 1
    if rows > 1:
        found.append((first, rows, width))
    return Packs(*np.array(found, np.int64).reshape(-1, 3).T)


def split(packs: Packs, most: int) -> Packs:
    """Packs of at most `most` blocks, where that is possible."""
    parts = np.minimum(-(-packs.blocks // most), packs.rows)
    pack, part = counted(parts)
    rows, parts = packs.rows[pack], parts[pack]
    begin = part * rows // parts
    return Packs(packs.first[pack] + begin, (part + 1) * rows // parts - begin, packs.width[pack])


def work_for(reads: Reads, packs: Packs, cost: TileCost, most: int, query_rows: int, tokens: int) -> Work:
    """What it asks for if no tile but those of packs has more than `most` blocks of tokens."""
    alone = unpacked(reads, packs)
    blocks, rows = -(-reads.length[alone] // BLOCK_TOKENS), -(-reads.rows[alone] // cost.rows)
    each = -(-blocks // -(-blocks // most))
    pieces = -(-blocks // each)
    times = np.ones(len(alone), np.int64)
    times[alone] = pieces
    read = readings(reads.first_row, reads.rows, times, query_rows)
    several = np.append(0, np.cumsum(read > 1))
    in_packs, packed_blocks = packs.blocks, several[reads.first_row[packs.first] + packs.rows]
    is_partial = several[(reads.first_row + reads.rows)[alone]] > several[reads.first_row[alone]]
    return Work(
        tiles=int(pieces @ rows) + len(in_packs),
        blocks=int(blocks @ rows + in_packs.sum()),
        longest=int(max(each.max(initial=0), in_packs.max(initial=0))),
        partials=int((pieces * rows) @ is_partial + (packed_blocks > several[reads.first_row[packs.first]]).sum()),
        readings=int(read.max()),
        tokens=tokens,
    )


def unpacked(reads: Reads, packs: Packs) -> NDArray[np.bool_]:
    """`[runs]`, whether a run has tiles of its own."""
    edges = np.zeros(len(reads.rows) + 1, np.int64)
    edges[packs.first] = 1
    edges[packs.first + packs.rows] -= 1
    alone: NDArray[np.bool_] = np.cumsum(edges[:-1]) == 0
    return alone


def by_chunks(segments: Segments, chunk: int) -> Reads:
    """Who reads what, if whole chunks at multiples of `chunk` tokens are shared by all who have them.

    The rest of a path, behind the last whole chunk, is left for the rows that end there.
    """
    begin, end = segments.position, segments.position + segments.length
    whole_from, whole_to = begin // chunk * chunk, end // chunk * chunk
    whole = np.flatnonzero(whole_to > whole_from)
    rest = np.flatnonzero((segments.ends > 0) & (end > whole_to))
    return Reads(
        np.append(whole, rest),
        np.append((begin - whole_from)[whole], (begin - whole_to)[rest]),
        np.append((whole_to - whole_from)[whole], (end - whole_to)[rest]),
        np.append(segments.first_row[whole], segments.end_row[rest]),
        np.append(segments.rows[whole], segments.ends[rest]),
    )
