"""Plans the attention of a step in tiles, and changes as little as possible from one step to the next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from operator import itemgetter

import numpy as np
import torch

from ..kernels import Plan, Tile, Tiling, WorkItem
from ..model import PAGE_SIZE
from .kv_node import KVNode
from .planner import Reader
from .reader_changes import by_leaf, follow, grow
from .slot_regions import Layout, SlotRegions
from .stem import Slots
from .stem_tree import StemTree
from .tile_balance import even_cost, longest_pieces, piece_costs
from .tile_cost import TileCost, tile_cost
from .tile_cutting import Counts, Runs, cut
from .tile_merging import solve
from .tile_order import RowOrder, by_chunks, cheapest, positions_of, row_order, runs_of
from .tile_tables import TileTables

CHUNK = 256
"""Tokens of a tile in deterministic mode."""

_PATIENCE = 64
"""Steps after which tiles that only grow are cut anew, so that none grows longer than the shortest piece."""

_KEPT = 0.8
"""Choices for a whole step are kept while there is about as much to do: at least so many times what there was, and at
most what it would be so many times of."""

_AS_GOOD = 1.03
"""Numbers of rows per tile that take at most so many times as long as the best are as good: of them, the present one is
kept, as changing it costs a plan, or else the one is taken that costs least in all."""

_NO_ITEMS = torch.empty(0, len(WorkItem._fields), dtype=torch.int32)
_NO_PAGES = torch.empty(0, dtype=torch.int32)
_LENGTH = Tile._fields.index("length")


class TilePlanner:
    """Makes the plans of consecutive steps.

    A step in which every branch reads one token more than in the step before, and nothing else happens, extends the
    tables in place. Otherwise the tree of stems is changed where branches were born or ended, the programme of
    `tile_merging` is solved where that matters, and the tables are written anew.

    In deterministic mode tiles begin at multiples of `CHUNK` tokens and always have the same block of rows, and two
    rows share one only if they share all of its tokens. So what a row reads, and in which pieces, depends on its path
    alone.
    """

    def __init__(
        self, tiling: Tiling, group: int, head_dim: int, value_bytes: int, *, deterministic: bool = False
    ) -> None:
        """Plan for a device and a model.

        Args:
            tiling: The device's, see `Kernels.tiling`.
            group: Query heads per KV head.
            head_dim: Width of a head.
            value_bytes: Of a value in the cache.
            deterministic: Whether a row's tiles must not depend on other rows.
        """
        self._tiling = tiling
        self._group = group
        self._share = by_chunks(CHUNK) if deterministic else cheapest
        self._deterministic = deterministic
        self._costs = {rows: tile_cost(group, head_dim, value_bytes, rows) for rows in tiling.rows}
        self._block = tiling.rows[len(tiling.rows) // 2]
        self._most = 0.0
        self._tables = TileTables()
        self._regions = SlotRegions(self._tables)
        self._tree = StemTree(self._regions)
        self._order = RowOrder([], [], [], [], 0)
        self._plan: Plan
        self._calm = 0
        self._chosen_for = 0
        self._cut_for = 0.0
        self._leaves: tuple[KVNode, ...] = ()
        self._ones: tuple[int, ...] = ()
        self._row_leaves: list[KVNode] = []
        self._by_row: Counts = np.empty(0, np.int64)
        self._firsts: Counts = np.empty(0, np.int64)
        self._slot_at: Counts = np.empty(0, np.int64)
        self._slot: Slots = np.empty(0, np.int32)
        self._last_tile: Counts = np.empty(0, np.int64)

    @property
    def cost(self) -> TileCost:
        """The prices of the present plan."""
        return self._costs[self._block]

    def plan(self, readers: Sequence[Reader]) -> tuple[list[Reader], Plan]:
        """Order `readers` and plan their rows; the plan is on the host, and good until the next one is made."""
        _, leaves, firsts, rows, writes = zip(*readers, strict=True)
        if self._calm and leaves == self._leaves and rows == self._ones and all(writes):
            now = np.array(firsts)[self._by_row]
            if np.array_equal(now, self._firsts + 1):
                self._grow(now)
                return [readers[i] for i in self._by_row.tolist()], self._plan
        return self._replan(readers, leaves), self._plan

    # --- a step like the one before -----------------------------------------------------------------------------

    def _grow(self, firsts: Counts) -> None:
        """Let every row read one token more."""
        rows = len(firsts)
        self._append(np.arange(rows), self._row_leaves, firsts)
        self._slot_at += 1
        self._firsts = firsts
        self._tables.positions[:rows] += 1
        self._tables.tiles[self._last_tile, _LENGTH] += 1
        self._tree.clock += 1
        self._calm -= 1

    def _append(self, twigs: Counts, leaves: Sequence[KVNode], firsts: Counts) -> None:
        """Enter the slot of one token more behind each of these twigs: number `firsts` of its leaf."""
        slots = self._slot[twigs] + 1
        for i in np.flatnonzero((slots % PAGE_SIZE == 0) | (firsts == 0)).tolist():
            page, slot = divmod(leaves[i].first_slot + int(firsts[i]), PAGE_SIZE)
            slots[i] = leaves[i].pages[page] * PAGE_SIZE + slot
        self._slot[twigs] = slots
        self._tables.slots[self._slot_at[twigs]] = slots

    # --- any other step -----------------------------------------------------------------------------------------

    def _replan(self, readers: Sequence[Reader], leaves: tuple[KVNode, ...]) -> list[Reader]:
        """Follow what has changed since the step before, and write the tables anew."""
        tree, grouped = self._tree, by_leaf(leaves, readers)
        grown = grow(tree, self._order, self._firsts, grouped)
        self._append(grown.kept, grown.leaves, grown.firsts)
        changed = follow(tree, self._order, grown, grouped)
        if changed:
            tree.settle()
            if not self._deterministic:
                if not _about_as_much(tree.root.rows, self._chosen_for):
                    self._choose_block()
                solve(tree.root, self.cost)
            self._order = row_order(tree.root, self._share)
        self._lay_out(1 if changed else _PATIENCE)
        self._write()
        return self._remember(grouped.single, leaves)

    def _choose_block(self) -> None:
        """Choose the rows of a tile: many read shared tokens less often, few have less to merge and to multiply.

        A step is judged by when its last worker ends and by what it costs in all, as either may be what limits a
        device.
        """
        tree, workers = self._tree, self._tiling.workers
        has_chosen = self._chosen_for > 0
        self._chosen_for = tree.root.rows
        judged: dict[int, float] = {}
        shares: dict[int, float] = {}
        for block, cost in self._costs.items():
            tree.reprice()
            solve(tree.root, cost)
            runs = runs_of(row_order(tree.root, self._share), tree.clock)
            most, end = even_cost(runs, cost, workers)
            shares[block] = float(piece_costs(runs, cost, longest_pieces(runs, cost, most)).sum()) / workers
            judged[block] = end + shares[block]
        least = min(judged.values())
        good = [block for block in judged if judged[block] <= _AS_GOOD * least]
        if self._block not in good or not has_chosen:
            self._block = min(good, key=shares.__getitem__)
        tree.reprice()

    def _lay_out(self, room: int) -> None:
        """Give regions to all that have none, another one, or less `room` than that."""
        tree, order = self._tree, self._order
        regions = self._regions
        layouts = self._layouts(room)
        if not regions.fits(layouts):
            for stem in tree.stems():
                stem.region = -1
            for twig in order.twigs:
                twig.slots = tree.own_slots(twig)
            layouts = self._layouts(room)
            regions.clear(layouts)
        regions.lay_out(layouts, tree.clock)

    def _layouts(self, room: int) -> list[Layout]:
        layouts: list[Layout] = []
        latest = self._tree.clock + room
        twigs = iter(self._order.twigs)
        for base, carried, _, rows in self._order.groups:
            tail: Slots | None = None
            for twig in islice(twigs, rows):
                if twig.slots is not None or twig.carried != carried or twig.full < latest:
                    if tail is None:
                        tail = base.tail(carried)
                    layouts.append((twig, tail, self._tree.own_slots(twig)))
        for stem, carried, *_ in self._order.runs:
            if carried >= 0 and (stem.region < 0 or stem.carried != carried):
                assert stem.base is not None, "the root has no tokens"
                layouts.append((stem, stem.base.tail(carried), stem.slots))
        return layouts

    def _write(self) -> None:
        """Write all tables."""
        tables, order, cost = self._tables, self._order, self.cost
        runs = runs_of(order, self._tree.clock)
        positions = positions_of(order, runs)
        by_position = np.argsort(runs.position, kind="stable")
        in_order = Runs(*(column[by_position] for column in runs))
        fixed = self._deterministic
        longest = np.full_like(in_order.length, CHUNK) if fixed else self._longest_pieces(in_order)
        pieces = cut(in_order, cost.block, longest, positions, merge_all=fixed, causal=bool(order.ends))
        tables.write(positions.astype(np.int32), pieces.merges, pieces.tiles, pieces.partials)
        sizes = (order.rows, len(pieces.tiles), len(pieces.partials), self._regions.used)
        where, tiles = tables.views(*sizes, cost.block)
        self._plan = Plan(where, _NO_ITEMS, _NO_PAGES, tiles)
        twigs = len(order.twigs)
        last = np.empty_like(by_position)
        last[by_position] = pieces.last
        self._last_tile = last[:twigs]
        self._slot_at = (runs.first + runs.length)[:twigs]
        self._slot = tables.slots[self._slot_at - 1]
        full = min((twig.full for twig in order.twigs), default=0) - self._tree.clock
        self._calm = 0 if order.ends else min(full, _PATIENCE)

    def _longest_pieces(self, runs: Runs) -> Counts:
        """Most tokens of a tile of each run: at the same cost as before, as long as there is about as much to do."""
        work = float((runs.length * runs.rows).sum())
        if not _about_as_much(work, self._cut_for):
            self._cut_for = work
            self._most, _ = even_cost(runs, self.cost, self._tiling.workers)
        return longest_pieces(runs, self.cost, self._most)

    def _remember(self, single: dict[KVNode, Reader], leaves: tuple[KVNode, ...]) -> list[Reader]:
        """Readers in the order of their rows, and what the next ones are compared with."""
        order = self._order
        self._leaves = leaves
        self._row_leaves = [twig.leaf for twig in order.twigs]
        ordered = [single[leaf] for leaf in self._row_leaves]
        self._firsts = np.array([reader.first for reader in ordered], np.int64)
        if not order.ends:
            self._ones = (1,) * len(leaves)
            place = {leaf: i for i, leaf in enumerate(leaves)}
            self._by_row = np.array([place[leaf] for leaf in self._row_leaves], np.int64)
            return ordered
        rows = [row for *_, first_row, count in order.groups for row in range(first_row, first_row + count)]
        placed = list(zip(rows, ordered, strict=True))
        placed += [(row, reader) for stem, row in order.ends for reader in stem.ends]
        return [reader for _, reader in sorted(placed, key=itemgetter(0))]


def _about_as_much(now: float, then: float) -> bool:
    """Whether a choice that was made for so much is still good."""
    return _KEPT * then < now < then / _KEPT
