"""Plans the attention of a step in tiles, and changes as little as possible from one step to the next."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from operator import attrgetter

import numpy as np
import torch

from ..kernels import Plan, Tile, Tiling, WorkItem
from ..model import PAGE_SIZE
from .forest import Arranged, Asked, Even, Forest
from .kv_node import KVNode
from .native_forest import NativeForest, library
from .plain_forest import PlainForest
from .planner import Reader, depth_first, make_plan
from .stem import Slots
from .tile_cost import TileCost, tile_cost
from .tile_cutting import Counts, Runs
from .tile_tables import TileTables
from .tile_tails import WIDEST

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
_FIRST_SLOT, _PARENT, _CHILDREN = attrgetter("first_slot"), attrgetter("parent"), attrgetter("children")
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
        self,
        tiling: Tiling,
        group: int,
        head_dim: int,
        value_bytes: int,
        *,
        deterministic: bool = False,
        native: bool = True,
    ) -> None:
        """Plan for a device and a model.

        Args:
            tiling: The device's, see `Kernels.tiling`.
            group: Query heads per KV head.
            head_dim: Width of a head.
            value_bytes: Of a value in the cache.
            deterministic: Whether a row's tiles must not depend on other rows.
            native: Whether to use the forest in C++ where it can be built; plans are the same.
        """
        self._tiling = tiling
        self._group = group
        self._chunk = CHUNK if deterministic else None
        self._deterministic = deterministic
        self._costs = {rows: tile_cost(group, head_dim, value_bytes, rows) for rows in tiling.rows}
        self._block = tiling.rows[len(tiling.rows) // 2]
        self._even = Even(inf, 0.0, 0.0, 1)
        self._tables = TileTables()
        self._library = library() if native else None
        self._forest = self._empty_forest()
        self._plan: Plan
        self._calm = 0
        self._chosen_for = 0
        self._cut_for = self._tails_for = 0.0
        self._leaves: tuple[KVNode, ...] = ()
        self._ones: tuple[int, ...] = ()
        self._by_row: Counts = np.empty(0, np.int64)
        self._firsts: Counts = np.empty(0, np.int64)
        self._slot_at: Counts = np.empty(0, np.int64)
        self._slot: Slots = np.empty(0, np.int32)
        self._last_tile: Counts = np.empty(0, np.int64)
        self._sharing: Counts = np.empty(0, np.int64)
        self._places: Counts = np.empty(0, np.int64)

    @property
    def cost(self) -> TileCost:
        """The prices of the present plan."""
        return self._costs[self._block]

    def plan(self, readers: Sequence[Reader], room: int = 1) -> tuple[list[Reader], Plan]:
        """See `Planner.plan`."""
        if room > 1:
            return self._with_room(readers, room)
        _, leaves, firsts, rows, writes = zip(*readers, strict=True)
        asked = Asked(readers, leaves, np.array(firsts, np.int64), rows, writes)
        if self._calm and asked.leaves == self._leaves and asked.rows == self._ones and all(asked.writes):
            now = asked.firsts[self._by_row]
            if np.array_equal(now, self._firsts + 1):
                self._grow(now)
                return [readers[i] for i in self._by_row.tolist()], self._plan
        return self._replan(asked), self._plan

    def _with_room(self, readers: Sequence[Reader], room: int) -> tuple[list[Reader], Plan]:
        """A plan of its own with slots for a round."""
        from ..kernels.triton.attention_tiles import cut

        ordered = depth_first(readers)
        plan = make_plan(ordered, torch.device("cpu"), room)
        ends = plan._replace(positions=plan.positions + room - 1)
        return ordered, plan._replace(tiles=cut(ends, PAGE_SIZE, self._group, self._tiling))

    # --- a step like the one before -----------------------------------------------------------------------------

    def _grow(self, firsts: Counts) -> None:
        """Let every row read one token more."""
        rows = len(firsts)
        self._append(np.arange(rows), self._leaves, self._by_row, firsts)
        self._slot_at += 1
        self._firsts = firsts
        self._tables.positions[:rows] += 1
        self._tables.tiles[self._last_tile, _LENGTH] += 1
        self._places += 1
        self._tables.slots[self._places] = self._slot[self._sharing]
        self._forest.clock += 1
        self._calm -= 1

    def _append(self, twigs: Counts, leaves: Sequence[KVNode], ends: Counts, firsts: Counts) -> None:
        """Enter the slot of one token more behind each of these twigs, as `Append` says."""
        slots = self._slot[twigs] + 1
        begins_page = np.flatnonzero((slots % PAGE_SIZE == 0) | (firsts == 0))
        if len(begins_page):
            nodes = [leaves[i] for i in ends[begins_page].tolist()]
            places = firsts[begins_page] + np.fromiter(map(_FIRST_SLOT, nodes), np.int64, len(nodes))
            numbers = (places // PAGE_SIZE).tolist()
            pages = np.array([node.pages[number] for node, number in zip(nodes, numbers, strict=True)])
            slots[begins_page] = pages * PAGE_SIZE + places % PAGE_SIZE
        self._slot[twigs] = slots
        self._tables.slots[self._slot_at[twigs]] = slots

    # --- any other step -----------------------------------------------------------------------------------------

    def _empty_forest(self) -> Forest:
        if self._library is None:
            return PlainForest(self._tables)
        return NativeForest(self._library, self._tables)

    def _replan(self, asked: Asked) -> list[Reader]:
        """Follow what has changed since the step before, and write the tables anew."""
        if _reads_what_it_computes(asked):  # a forest follows nodes that change only at the ends of paths
            self._forest, self._firsts = self._empty_forest(), self._firsts[:0]
        forest = self._forest
        changed = forest.follow(asked, self._firsts + 1, self._append)
        if changed:
            rows = forest.settle()
            if self._deterministic or _about_as_much(rows, self._chosen_for):
                self._arrange(self._block)
            else:
                self._choose_block(rows)
        forest.lay_out(1 if changed else _PATIENCE)
        arranged = forest.arranged(asked)
        self._write(arranged)
        return self._remember(arranged, asked)

    def _choose_block(self, rows: int) -> None:
        """Choose the rows of a tile: many read shared tokens less often, few have less to merge and to multiply.

        A step is judged by when its last worker ends and by what it costs in all, as either may be what limits a
        device. After the first choice only numbers on one side of the present one are tried, larger ones if there are
        more rows than there were, and only as long as they get better.
        """
        forest, workers = self._forest, self._tiling.workers
        towards = sorted(self._costs, reverse=rows < self._chosen_for)
        if self._chosen_for:
            towards = towards[towards.index(self._block) :]
        judged: dict[int, float] = {}
        found: dict[int, Even] = {}
        for block in towards:
            forest.reprice()
            self._arrange(block)
            found[block] = forest.even(forest.runs(), self._costs[block], workers)
            judged[block] = found[block].end + found[block].total / workers
            if self._chosen_for and judged[block] > min(judged.values()):
                break
        good = [block for block in judged if judged[block] <= _AS_GOOD * min(judged.values())]
        if self._block not in good or not self._chosen_for:
            self._block = min(good, key=lambda block: found[block].total)
        if self._block != next(reversed(judged)):
            forest.reprice()
            self._arrange(self._block)
        self._chosen_for = rows
        self._even, self._cut_for = found[self._block], 0.0

    def _arrange(self, block: int) -> None:
        """Choose who reads what together in tiles of `block` rows, and order the rows by that."""
        if not self._deterministic:
            self._forest.solve(self._costs[block])
        self._forest.order(self._chunk)

    def _write(self, arranged: Arranged) -> None:
        """Write all tables."""
        tables, forest, runs = self._tables, self._forest, arranged.runs
        cut = forest.cut(arranged, self.cost, self._even_for(runs, len(arranged.twigs)), self._chunk)
        where, tiled = tables.views(len(arranged.positions), cut.tiles, cut.partials, cut.used, self._block)
        self._plan = Plan(where, _NO_ITEMS, _NO_PAGES, tiled)
        twigs = len(arranged.twigs)
        self._sharing = np.flatnonzero(cut.places >= 0)
        self._places = cut.places[self._sharing]
        self._last_tile = cut.last[:twigs][cut.places[:twigs] < 0]
        self._slot_at = (runs.first + runs.length)[:twigs]
        self._slot = tables.slots[self._slot_at - 1]
        # The step after these enters a token of each twig before it looks for regions that are full.
        full = min(arranged.full - forest.clock - 1, cut.room)
        if self._deterministic and twigs:  # no tile grows beyond its chunk
            full = min(full, CHUNK - int(tables.tiles[self._last_tile, _LENGTH].max()))
        self._calm = 0 if arranged.order is not None else min(full, _PATIENCE)

    def _even_for(self, runs: Runs, twigs: int) -> Even:
        """How tiles are made even: the same as before, as long as there is about as much to do.

        Tails that may share tiles are judged again as they grow: they may be little of the work, but many tiles.
        """
        if self._deterministic:
            return self._even
        work = float(runs.length @ runs.rows)
        tails = float(np.minimum(runs.length[:twigs], WIDEST).sum()) + 1
        workers = self._tiling.workers
        if not _about_as_much(work, self._cut_for):
            if self._cut_for:
                self._even = self._forest.even(runs, self.cost, workers)
            self._cut_for, self._tails_for = work, tails
        elif not _about_as_much(tails, self._tails_for) and self._forest.may_share(runs, self.cost):
            self._even = self._forest.even(runs, self.cost, workers, self._even.most)
            self._tails_for = tails
        return self._even

    def _remember(self, arranged: Arranged, asked: Asked) -> list[Reader]:
        """Readers in the order of their rows, and what the next ones are compared with."""
        self._leaves = asked.leaves
        self._by_row = arranged.twigs
        by_row = arranged.twigs.tolist()
        self._firsts = asked.firsts[arranged.twigs]
        self._ones = (1,) * len(by_row)
        return [asked.readers[i] for i in (by_row if arranged.order is None else arranged.order)]


def _reads_what_it_computes(asked: Asked) -> bool:
    """Whether some reader's node is computed in the same step as the node above it."""
    if not any(map(_CHILDREN, asked.leaves)):
        return False
    computed = {leaf for leaf, writes in zip(asked.leaves, asked.writes, strict=True) if writes}
    return not computed.isdisjoint(map(_PARENT, asked.leaves))


def _about_as_much(now: float, then: float) -> bool:
    """Whether a choice that was made for so much is still good."""
    return _KEPT * then < now < then / _KEPT
