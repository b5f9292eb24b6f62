"""Plans the attention of a step in tiles, and changes as little as possible from one step to the next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from math import inf
from operator import itemgetter

import numpy as np
import torch

from ..kernels import Plan, Tile, Tiling, WorkItem
from ..model import PAGE_SIZE
from .kv_node import KVNode
from .planner import Reader
from .slot_regions import Layout, SlotRegions
from .stem import Slots, Stem, Twig
from .stem_tree import StemTree
from .tile_cost import TileCost, tile_cost
from .tile_cutting import Counts, Runs, cut, is_balanced, longest_piece
from .tile_merging import solve
from .tile_order import RowOrder, by_chunks, cheapest, row_order
from .tile_tables import TileTables

CHUNK = 256
"""Tokens of a tile in deterministic mode."""

_PATIENCE = 64
"""Steps after which tiles that only grow are cut anew, so that none grows longer than the shortest piece."""

_RIDGE = 128
"""(Row, head) pairs of a tile at which its products take as long as reading its tokens (`kernels/triton`)."""

_KEPT = 0.9
"""Another number of rows per tile must cost less than so many times the present one, as changing it costs a plan."""

_NO_ITEMS = torch.empty(0, len(WorkItem._fields), dtype=torch.int32)
_NO_PAGES = torch.empty(0, dtype=torch.int32)
_LENGTH = Tile._fields.index("length")


class TilePlanner:
    """Makes the plans of consecutive steps.

    A step in which every branch reads one token more than in the step before, and nothing else happens, extends the
    tables in place. Otherwise the tree of stems is changed where branches were born or ended, the programme of
    `tile_merging` is solved where that matters, and the tables are written anew.

    In deterministic mode tiles begin at multiples of `CHUNK` tokens and always have the same block of rows, and two rows
    share one only if they share all of its tokens. So what a row reads, and in which pieces, depends on its path alone.
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
        self._longest = 0
        self._tables = TileTables()
        self._regions = SlotRegions(self._tables)
        self._tree = StemTree(self._regions)
        self._order = RowOrder([], [], [], [], 0)
        self._plan: Plan
        self._calm = 0
        self._work = inf
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
        single = dict(zip(leaves, readers, strict=True))
        several: dict[KVNode, list[Reader]] = {}
        if len(single) < len(readers):
            several = _grouped(readers)
            single = {leaf: same[0] for leaf, same in several.items() if len(same) == 1}
            several = {leaf: same for leaf, same in several.items() if len(same) > 1}
        tree = self._tree
        tree.follow_splits()
        changed = self._follow_ends(single, several)
        changed |= self._follow_twigs(single, several)
        if changed:
            tree.settle()
            if not self._deterministic:
                self._choose_block()
                solve(tree.root, self.cost)
            self._order = row_order(tree.root, self._share)
        self._lay_out(1 if changed else _PATIENCE)
        self._write(single)
        return self._remember(single, leaves)

    def _follow_ends(self, single: dict[KVNode, Reader], several: dict[KVNode, list[Reader]]) -> bool:
        """Let no row end in a stem any more; whether one did."""
        for stem, _ in self._order.ends:
            stem.ends = []
            stem.own_rows = 0
            self._tree.changed[stem] = None
            covered = stem.start + stem.length == stem.last.end
            if not (stem.twigs or stem.stems) and (not covered or stem.last in single or stem.last in several):
                self._tree.remove_stem(stem)
        return bool(self._order.ends)

    def _follow_twigs(self, single: dict[KVNode, Reader], several: dict[KVNode, list[Reader]]) -> bool:
        """Let twigs grow, be born and end as the readers do; whether some were born or ended."""
        tree, twigs = self._tree, self._order.twigs
        heirs: defaultdict[KVNode | None, list[KVNode]] = defaultdict(list)
        for leaf in tree.strangers(single):
            if single[leaf].rows == 1 and single[leaf].first == 0:
                heirs[leaf.parent].append(leaf)
        kept: list[int] = []
        gone = False
        tree.clock += 1
        for i, (twig, first) in enumerate(zip(twigs, (self._firsts + 1).tolist(), strict=True)):
            leaf = twig.leaf
            reader = single.get(leaf)
            if reader is not None and reader.first == first and reader.rows == 1 and reader.writes:
                kept.append(i)
                continue
            goes_on = heirs[leaf] if leaf in heirs and first == len(leaf.tokens) else ()
            if len(goes_on) == 1 and reader is None and leaf not in several:
                tree.pass_on(twig, goes_on[0])
                kept.append(i)
                continue
            gone = True
            twig.span -= 1
            if not goes_on:
                tree.remove_twig(twig)
        leaves = [twigs[i].leaf for i in kept]
        firsts = np.fromiter((single[leaf].first for leaf in leaves), np.int64, len(leaves))
        self._append(np.array(kept, np.int64), leaves, firsts)
        came = several | single
        for leaf in leaves:
            del came[leaf]
        if any(tree.knows(leaf) and (leaf in several or single[leaf].writes) for leaf in came):
            tree.tidy()  # what is written now was not read just before: whatever is known of it is out of date
        for leaf in came:
            if leaf in several:
                tree.add_ends(several[leaf])
            elif single[leaf].rows > 1 or not leaf.childless or tree.knows(leaf):
                tree.add_ends([single[leaf]])
            else:
                tree.add_twig(single[leaf])
        return gone or bool(came)

    def _choose_block(self) -> None:
        """Choose the rows of a tile: many read shared tokens less often, few waste less where nothing is shared."""
        stems = self._tree.stems()
        rows = np.fromiter((stem.rows for stem in stems), np.int64, len(stems))
        tokens = np.fromiter((stem.length for stem in stems), np.int64, len(stems))
        own = self._tree.twig_tokens()

        def total(block: int) -> float:
            cost = self._costs[block]
            products = cost.token * block * self._group / _RIDGE
            blocks = -(-rows // block)
            shared = cost.first(tokens) + (cost.again(tokens) + products * tokens) * blocks
            return float(shared.sum()) + (cost.token + products) * own

        best = min(self._tiling.rows, key=total)
        if total(best) < _KEPT * total(self._block):
            self._block = best
            self._tree.reprice()

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
        for base, carried, _, count in self._order.groups:
            tail: Slots | None = None
            for twig in islice(twigs, count):
                if twig.slots is not None or twig.carried != carried or twig.full < latest:
                    if tail is None:
                        tail = base.tail(carried)
                    layouts.append((twig, tail, self._tree.own_slots(twig)))
        for stem, carried, *_ in self._order.runs:
            if carried >= 0 and (stem.region < 0 or stem.carried != carried):
                assert stem.base is not None, "the root has no tokens"
                layouts.append((stem, stem.base.tail(carried), stem.slots))
        return layouts

    def _write(self, single: dict[KVNode, Reader]) -> None:
        """Write all tables."""
        tables, order, cost = self._tables, self._order, self.cost
        runs = self._runs()
        positions = self._positions(runs)
        by_position = np.argsort(runs.position, kind="stable")
        sorted_runs = Runs(*(column[by_position] for column in runs))
        if self._deterministic:
            longest = CHUNK
        else:
            longest = self._longest_piece(sorted_runs)
        pieces = cut(
            sorted_runs,
            cost.block,
            longest,
            positions,
            fixed=self._deterministic,
            causal=bool(order.ends),
        )
        tables.write(positions, pieces.merges, pieces.tiles, pieces.partials)
        sizes = (order.rows, len(pieces.tiles), len(pieces.partials), self._regions.used, cost.block)
        positions_view, tiles = tables.views(*sizes)
        self._plan = Plan(positions_view, _NO_ITEMS, _NO_PAGES, tiles)
        last = np.empty_like(by_position)
        last[by_position] = pieces.last
        twigs = len(order.twigs)
        self._last_tile = last[:twigs]
        self._slot_at = runs.first[:twigs] + runs.length[:twigs]
        self._slot = tables.slots[self._slot_at - 1]
        full = min((twig.full for twig in order.twigs), default=0) - self._tree.clock
        self._calm = 0 if order.ends else min(full, _PATIENCE)

    def _runs(self) -> Runs:
        """What is read together: first that of the twigs, in the order of their rows, then that of the stems."""
        twigs, groups, stem_runs = self._order.twigs, self._order.groups, self._order.runs
        count = len(twigs)
        members = np.array([group.count for group in groups], np.int64)
        carried = np.repeat(np.array([group.carried for group in groups], np.int64), members)
        first_row = np.array([group.first_row for group in groups], np.int64) - (np.cumsum(members) - members)
        mine = Runs(
            np.fromiter((twig.region for twig in twigs), np.int64, count),
            np.fromiter((twig.start for twig in twigs), np.int64, count) - carried,
            np.fromiter((twig.span for twig in twigs), np.int64, count) + self._tree.clock + carried,
            np.repeat(first_row, members) + np.arange(count),
            np.ones(count, np.int64),
        )
        theirs = np.array(
            [
                (
                    stem.region + stem.carried - carried,
                    stem.start - carried,
                    carried + stem.length - left,
                    first_row,
                    rows,
                )
                for stem, carried, left, first_row, rows in stem_runs
            ],
            np.int64,
        ).reshape(-1, len(Runs._fields))
        return Runs(*(np.concatenate(both) for both in zip(mine, theirs.T, strict=True)))

    def _positions(self, runs: Runs) -> Counts:
        """`[rows]`, where each row stands: a twig's behind all that it reads."""
        positions = np.empty(self._order.rows, np.int64)
        twigs = len(self._order.twigs)
        positions[runs.first_row[:twigs]] = (runs.position + runs.length - 1)[:twigs]
        for stem, row in self._order.ends:
            at = row
            for reader in stem.ends:
                begin = reader.leaf.start + reader.first
                positions[at : at + reader.rows] = np.arange(begin, begin + reader.rows)
                at += reader.rows
        return positions

    def _longest_piece(self, runs: Runs) -> int:
        """The length of pieces, as it was as long as that is good enough for about as much work."""
        work = float((runs.length * runs.rows).sum())
        tiling = self._tiling
        if not (_KEPT < work / self._work < 1 / _KEPT and is_balanced(runs, self.cost, tiling.workers, self._longest)):
            self._work = work
            self._longest = longest_piece(runs, self.cost, tiling.workers)
        return self._longest

    def _remember(self, single: dict[KVNode, Reader], leaves: tuple[KVNode, ...]) -> list[Reader]:
        """Readers in the order of their rows, and what to compare the next ones with."""
        order = self._order
        self._row_leaves = [twig.leaf for twig in order.twigs]
        ordered = [single[leaf] for leaf in self._row_leaves]
        self._firsts = np.fromiter((reader.first for reader in ordered), np.int64, len(ordered))
        self._leaves = leaves
        if not order.ends:
            self._ones = (1,) * len(leaves)
            self._by_row = np.fromiter(map(dict(zip(leaves, range(len(leaves)))).__getitem__, self._row_leaves), np.int64, len(leaves))
            return ordered
        rows = [group.first_row + i for group in order.groups for i in range(group.count)]
        placed = list(zip(rows, ordered, strict=True))
        for stem, row in order.ends:
            at = row
            for reader in stem.ends:
                placed.append((at, reader))
                at += reader.rows
        return [reader for _, reader in sorted(placed, key=itemgetter(0))]


def _grouped(readers: Sequence[Reader]) -> dict[KVNode, list[Reader]]:
    """Readers by the node that they end in."""
    groups: defaultdict[KVNode, list[Reader]] = defaultdict(list)
    for reader in readers:
        groups[reader.leaf].append(reader)
    return groups
