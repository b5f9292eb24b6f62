"""Chooses which rows of a round read which tokens together, and how long the tiles are."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .segments import Segments
from .tile_cost import BLOCK_TOKENS, TileCost, Work, modelled_us
from .tile_tables import Ints, counted, readings

_WIDEST = 256
"""The longest private suffix, in tokens, that may share a tile with others."""

_CANDIDATES = 2
"""For how many numbers of rows per tile the cost is evaluated in full."""

_OPENING = 1.5
"""Cost of one more tile, including the later merge of its rows' partial results, as a multiple of
`TileCost.tile + TileCost.partial`. Of the values from 0.3 to 6, this is the best on the trees of `make bench-bytes`,
but not by much."""

_OF_WORK, _OF_LATENCY = (0.7, 1.2), (1.0, 1.5)
"""The maximum tile lengths to try, as multiples of one worker's share of the work, and of the length with the lowest
latency. Trying more lengths gains 0.2 % on the trees of `make bench-bytes`."""


class Reads(NamedTuple):
    """Runs of tokens, each read by the same rows; private suffixes come first, in the order of their rows.

    Attributes:
        segment: `[runs]`, the segment that the run ends in.
        before: `[runs]`, how many tokens before that segment belong to the run; negative if the run begins inside the
            segment.
        length: `[runs]`, its number of tokens.
        first_row: `[runs]`, the first row that reads it.
        rows: `[runs]`, number of consecutive rows that read it.
    """

    segment: Ints
    before: Ints
    length: Ints
    first_row: Ints
    rows: Ints


class Packs(NamedTuple):
    """Private suffixes that share tiles.

    Attributes:
        first: `[packs]`, index of its first run in `Reads`; the others follow in the order of their rows.
        rows: `[packs]`, its number of rows, which is also its number of runs.
        width: `[packs]`, see `Tile.width`.
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
    """One way to cut the reads of a round into tiles.

    Attributes:
        us: Modelled time in microseconds.
        cost: The prices, and the maximum number of rows of a tile.
        reads: The runs of tokens.
        packs: The runs that share tiles.
        most: Maximum blocks of tokens of a tile.
    """

    us: float
    cost: TileCost
    reads: Reads
    packs: Packs
    most: int


def choose(segments: Segments, costs: Sequence[TileCost], query_rows: int) -> TileChoice:
    """Choose the cheapest of several ways to read `segments` in tiles.

    With few rows per tile, more workers are busy and fewer padded queries are multiplied; with many, shared tokens are
    read less often. `costs` has one entry per number of rows; only the most promising ones, by a first guess, are
    evaluated in full. With short tiles, workers finish at about the same time; with long ones, there is less to merge.
    """
    tokens = int(segments.length.sum())
    longest = float((segments.position + segments.length).max()) / BLOCK_TOKENS
    found: list[TileChoice] = []
    guesses = _first_guesses(segments, costs)
    for number in np.argsort(guesses, kind="stable")[:_CANDIDATES].tolist():
        cost = costs[number]
        reads = shared(segments, cost)
        packs = packed(reads, cost)
        busy = float((-(-reads.length // BLOCK_TOKENS) * -(-reads.rows // cost.rows)).sum()) / cost.workers
        quickest = sqrt(longest * cost.merge / cost.wait)
        sizes = [busy * part for part in _OF_WORK] + [quickest * part for part in _OF_LATENCY]
        mosts = list({max(1, ceil(size)) for size in sizes})
        ways = [(shares, most) for shares in (packs, NO_PACKS) for most in mosts]
        works = works_for(reads, packs, cost, mosts, query_rows, tokens)
        found += [TileChoice(modelled_us(cost, work), cost, reads, *way) for way, work in zip(ways, works, strict=True)]
    best = min(found, key=attrgetter("us"))
    return best._replace(packs=split(best.packs, best.most))


def chosen_again(choice: TileChoice, segments: Segments) -> TileChoice:
    """Apply an earlier choice to new `segments`; `us` is still the time of the earlier ones."""
    reads = shared(segments, choice.cost)
    packs = split(packed(reads, choice.cost), choice.most) if len(choice.packs.first) else NO_PACKS
    return choice._replace(reads=reads, packs=packs)


def _first_guesses(segments: Segments, costs: Sequence[TileCost]) -> NDArray[np.float64]:
    """Rough times for each of `costs`, if suffixes share tiles and short segments are read with longer ones."""
    most, tile, partial, block, wait, merge = np.array(
        [(cost.rows, cost.tile, cost.partial, cost.block, cost.wait, cost.merge) for cost in costs]
    ).T[:, :, None]
    blocks, rows = segments.length / BLOCK_TOKENS, segments.rows
    tiles = np.ceil(rows / most)
    fixed = np.minimum(tiles * (tile + partial), 2 * block * blocks)
    fixed = np.where(rows > 1, fixed, (tile + partial) / most)
    busy = (tiles * blocks * block + fixed).sum(axis=1)
    longest = float((segments.position + segments.length).max()) / BLOCK_TOKENS
    latency = np.sqrt(wait * merge * longest) + 2 * merge
    guesses: NDArray[np.float64] = np.hypot(busy / [cost.workers for cost in costs], latency[:, 0])
    return guesses


def shared(segments: Segments, cost: TileCost) -> Reads:
    """The runs to read; a segment too short for separate tiles is read again with each of the segments below it."""
    tiles, ending = -(-segments.rows // cost.rows), -(-segments.ends // cost.rows)
    goes_on = np.bincount(segments.above + 1, tiles, len(tiles) + 1)[1:]
    again = (goes_on + ending - tiles) * (cost.block / BLOCK_TOKENS)
    saved = tiles * (cost.tile + cost.partial) * _OPENING
    left = np.zeros(len(tiles) + 1, np.int64)  # the last entry belongs to -1, the parent of the first segments
    for number in np.flatnonzero(goes_on > 0).tolist():
        length = left[segments.above[number]] + segments.length[number]
        if length * again[number] < saved[number]:
            left[number] = length
    before = left[segments.above]
    is_left = left[:-1] > 0
    first_row = np.where(is_left, segments.end_row, segments.first_row)
    rows = np.where(is_left, segments.ends, segments.rows)
    kept = np.flatnonzero(rows > 0)
    kept = kept[np.lexsort((first_row[kept], rows[kept] > 1))]
    came_along = before[kept]
    return Reads(kept, came_along, came_along + segments.length[kept], first_row[kept], rows[kept])


def packed(reads: Reads, cost: TileCost) -> Packs:
    """Pack private suffixes of neighbouring rows into shared tiles, as long as adding one reduces the cost."""
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


def split(packs: Packs, most: int | Ints) -> Packs:
    """`packs`, split into packs of at most `most` blocks where possible."""
    parts = np.minimum(-(-packs.blocks // most), packs.rows)
    pack, part = counted(parts)
    rows, parts = packs.rows[pack], parts[pack]
    begin = part * rows // parts
    return Packs(packs.first[pack] + begin, (part + 1) * rows // parts - begin, packs.width[pack])


def works_for(
    reads: Reads, packs: Packs, cost: TileCost, mosts: Sequence[int], query_rows: int, tokens: int
) -> list[Work]:
    """The work of reading `reads` in tiles, for each maximum length in `mosts` (in blocks): with packs, then without.

    Packs are split to fit the maximum length, as far as possible. All alternatives are counted at once, in tables with
    one row per alternative and one column per run, because a numpy call takes longer than computing some hundred runs.
    Query rows of each alternative are numbered after those of the one before.
    """
    ways, runs, row_edges = 2 * len(mosts), len(reads.rows), query_rows + 1
    alone = np.ones((ways, runs), np.bool_)
    alone[: len(mosts)] = unpacked(reads, packs)
    blocks, rows = np.ceil(reads.length / BLOCK_TOKENS), np.ceil(reads.rows / cost.rows)
    each = np.ceil(blocks / np.ceil(blocks / np.tile(mosts, 2)[:, None]))
    pieces = np.where(alone, np.ceil(blocks / each), 1)
    tiles = pieces * rows * alone
    first_row = reads.first_row + np.arange(ways)[:, None] * row_edges
    end_row = first_row + reads.rows
    read = readings(first_row.ravel(), end_row.ravel(), pieces.ravel(), ways * row_edges)
    several = np.append(0, np.cumsum(read > 1))
    is_partial = several[end_row] > several[first_row]
    counts = np.stack((
        tiles.sum(axis=1), alone @ (blocks * rows), (each * alone).max(axis=1),
        (tiles * is_partial).sum(axis=1), read.reshape(ways, row_edges).max(axis=1),
    ))  # fmt: skip
    if len(packs.first):
        numbers = (packs.first + np.arange(len(mosts))[:, None] * runs).ravel()
        rows_and_widths = (np.tile(column, len(mosts)) for column in packs[1:])
        parts = split(Packs(numbers, *rows_and_widths), np.repeat(mosts, len(packs.first)))
        way, first, part_blocks = parts.first // runs, first_row.ravel()[parts.first], parts.blocks
        is_partial_part = several[first + parts.rows] > several[first]
        begins, packed_ways = np.searchsorted(way, range(len(mosts))), counts[:, : len(mosts)]
        packed_ways[0] += np.diff(begins, append=len(way))
        packed_ways[1] += np.add.reduceat(part_blocks, begins)
        np.maximum(packed_ways[2], np.maximum.reduceat(part_blocks, begins), out=packed_ways[2])
        packed_ways[3] += np.add.reduceat(is_partial_part, begins, dtype=np.int64)
    return [Work._make([*of_way, tokens]) for of_way in counts.T.astype(np.int64).tolist()]


def unpacked(reads: Reads, packs: Packs) -> NDArray[np.bool_]:
    """`[runs]`, whether a run is in no pack, so that it has tiles to itself."""
    edges = np.zeros(len(reads.rows) + 1, np.int64)
    edges[packs.first] = 1
    edges[packs.first + packs.rows] -= 1
    alone: NDArray[np.bool_] = np.cumsum(edges[:-1]) == 0
    return alone


def by_chunks(segments: Segments, chunk: int) -> Reads:
    """The runs to read if paths are cut at multiples of `chunk` tokens and rows share every whole chunk.

    The rest of a path, after its last whole chunk, is read by the rows that end there.
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
