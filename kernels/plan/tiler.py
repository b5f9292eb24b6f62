"""Cuts what a round reads into tiles."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from .plan import Tiles, Tiling
from .segments import ReadTree
from .tile_choice import NO_PACKS, Packs, Reads, TileChoice, by_chunks, choose, chosen_again, unpacked
from .tile_cost import BLOCK_TOKENS, tile_cost
from .tile_tables import Ints, Runs, counted, ranges, tile_tables

CHUNK = 256
"""Tokens of a tile in deterministic mode."""

_STEADY = 8
"""A choice is reused while the numbers of rows, tokens and segments and the longest path each differ from those it was
made for by at most one part in this many: from round to round, few branches end or begin. Choosing takes half the time
of planning; by the cost model, reused choices take 0.1 % more time, in searches of 60 and 180 branches."""


class Tiler:
    """Cuts the trees of one round after the other, all for the same model and device.

    Tiles are always made from scratch, except that their size is reused as long as the sizes of the tree change little.

    In deterministic mode, tiles begin at multiples of `CHUNK` tokens and always have the same maximum number of rows,
    and two rows share a tile only if they share all of its tokens. So the tiles that a row reads depend only on its
    path.
    """

    def __init__(self, tiling: Tiling, group: int, head_dim: int, *, deterministic: bool = False) -> None:
        """Cut for a device and a model.

        Args:
            tiling: The tiling of the device; see `Kernels.tiling`.
            group: Query heads per KV head.
            head_dim: Width of a head.
            deterministic: Whether a row's tiles must not depend on other rows.
        """
        self.deterministic = deterministic
        self._costs = [tile_cost(tiling.workers, rows, group, head_dim) for rows in tiling.rows]
        self._fixed_rows = tiling.rows[len(tiling.rows) // 2]
        self._last: TileChoice | None = None
        self._last_sizes: Ints

    def cut(self, tree: ReadTree) -> Tiles:
        """Return the tiles of `tree`, on the host."""
        if self.deterministic:
            reads = by_chunks(tree.segments, CHUNK)
            return _tiles(tree, reads, NO_PACKS, self._fixed_rows, CHUNK, merge_all=True)
        choice = self._choice(tree)
        return _tiles(tree, choice.reads, choice.packs, choice.cost.rows, choice.most * BLOCK_TOKENS)

    def _choice(self, tree: ReadTree) -> TileChoice:
        """How to read `tree`: reuses the last choice if the tree has about the same size in every respect."""
        sizes = np.array([len(tree.positions), len(tree.slots), len(tree.segments.length), tree.last.max() + 1])
        if self._last is not None and (np.abs(sizes - self._last_sizes) * _STEADY <= self._last_sizes).all():
            return chosen_again(self._last, tree.segments)
        self._last, self._last_sizes = choose(tree.segments, self._costs, len(tree.positions)), sizes
        return self._last


def _tiles(tree: ReadTree, reads: Reads, packs: Packs, rows: int, most: int, *, merge_all: bool = False) -> Tiles:
    """The tables of tiles; apart from `packs`, no tile has more than `rows` rows or `most` tokens."""
    position = tree.segments.position[reads.segment] - reads.before
    first, copied = _copied(tree, reads)
    pack, number = counted(packs.rows)
    run = packs.first[pack] + number
    width, places = packs.width[pack], packs.rows * packs.width
    behind = len(tree.slots) + len(copied)
    slots = np.empty(behind + int(places.sum()), np.int32)
    slots[: len(tree.slots)] = tree.slots
    slots[len(tree.slots) : behind] = tree.slots[copied]
    own = np.minimum(ranges(first[run], width), np.repeat((first[run] + reads.length[run] - 1).astype(np.int32), width))
    slots[behind:] = slots[own]
    tails = np.zeros(len(tree.positions), np.int32)
    tails[reads.first_row[run]] = position[run]

    alone = unpacked(reads, packs)
    begin = np.cumsum(packs.rows) - packs.rows
    runs = Runs(
        np.append(first[alone], behind + np.cumsum(places) - places),
        np.append(position[alone], np.maximum.reduceat(np.append(position[run], 0), begin) if len(begin) else begin),
        np.append(reads.length[alone], places),
        np.append(reads.first_row[alone], reads.first_row[packs.first]),
        np.append(reads.rows[alone], packs.rows),
        np.append(np.zeros(int(alone.sum()), np.int64), packs.width),
    )
    pieces = -(-reads.length[alone] // most)
    longest = -(-reads.length[alone] // (pieces * BLOCK_TOKENS)) * BLOCK_TOKENS
    if merge_all:
        longest[:] = most
    tables = tile_tables(runs, rows, np.append(longest, places), tree.last, merge_all=merge_all)
    return Tiles(rows, *map(torch.from_numpy, (tails, tables.tiles, slots, tables.partials, tables.merges)))


def _copied(tree: ReadTree, reads: Reads) -> tuple[Ints, NDArray[np.int32]]:
    """The index of each run's first slot, and the indices in `tree.slots` of slots to append to the list of slots.

    The slots of a run must be contiguous in the list, so a run that includes tokens of segments above is copied to its
    end as a whole.
    """
    segments = tree.segments
    first = segments.first[reads.segment] - reads.before
    run = np.flatnonzero(reads.before > 0)
    segment, size = reads.segment[run], reads.length[run]
    begin = np.cumsum(size) - size
    first[run] = len(tree.slots) + begin
    count = size - reads.before[run]
    at, source = begin + size - count, segments.first[segment]
    parts = [(at, source, count)]
    while (more := np.flatnonzero(at > begin)).size:
        begin, end, segment = begin[more], at[more], segments.above[segment[more]]
        count = np.minimum(end - begin, segments.length[segment])
        at, source = end - count, segments.first[segment] + segments.length[segment] - count
        parts.append((at, source, count))
    at, source, count = np.concatenate(parts, axis=1)
    order = np.argsort(at)
    return first, ranges(source[order], count[order])
