"""The forest in Python: what the one in C++ must agree with, and what machines without a compiler use."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice

import numpy as np

from .forest import Append, Arranged, Asked, Cut, Even
from .reader_changes import by_leaf, follow, grow
from .slot_regions import Layout, SlotRegions
from .stem import Slots
from .stem_tree import StemTree
from .tile_balance import even_cost, last_end, longest_pieces, piece_costs
from .tile_cost import TileCost
from .tile_cutting import Counts, Runs, cut
from .tile_merging import solve
from .tile_order import RowOrder, by_chunks, cheapest, positions_of, row_order, runs_of
from .tile_tables import TileTables
from .tile_tails import Places, even_tails, shared


class PlainForest:
    """A `Forest` of objects."""

    def __init__(self, tables: TileTables) -> None:
        """Start empty, with regions in `tables`."""
        self._tables = tables
        self._regions = SlotRegions(tables)
        self._tree = StemTree(self._regions)
        self._order = RowOrder([], [], [], [], 0)

    @property
    def clock(self) -> int:
        """Steps in which every twig has grown by a token."""
        return self._tree.clock

    @clock.setter
    def clock(self, clock: int) -> None:
        self._tree.clock = clock

    @property
    def used(self) -> int:
        """Slots up to the end of the last region."""
        return self._regions.used

    def follow(self, asked: Asked, due: Counts, append: Append) -> bool:
        """Go on from the step before to this one."""
        tree, grouped = self._tree, by_leaf(asked.leaves, asked.readers)
        grown = grow(tree, self._order, due, grouped)
        append(grown.kept, grown.leaves, np.arange(len(grown.kept)), grown.firsts)
        return follow(tree, self._order, grown, grouped)

    def settle(self) -> int:
        """Find out which costs are no longer true."""
        self._tree.settle()
        return self._tree.root.rows

    def reprice(self) -> None:
        """Forget all costs."""
        self._tree.reprice()

    def solve(self, cost: TileCost) -> float:
        """Choose who reads what together."""
        return solve(self._tree.root, cost)

    def order(self, chunk: int | None) -> None:
        """Put the rows in order."""
        self._order = row_order(self._tree.root, cheapest if chunk is None else by_chunks(chunk))

    def runs(self) -> Runs:
        """What is read together."""
        return runs_of(self._order, self._tree.clock)

    def lay_out(self, room: int) -> None:
        """Give regions to all that need one."""
        tree, order, regions = self._tree, self._order, self._regions
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

    def arranged(self, asked: Asked) -> Arranged:
        """The rows of the step."""
        order = self._order
        runs = runs_of(order, self._tree.clock)
        positions = positions_of(order, runs)
        ending: defaultdict[object, list[int]] = defaultdict(list)
        for number, leaf in enumerate(asked.leaves):
            ending[leaf].append(number)
        twigs = [ending[twig.leaf][0] for twig in order.twigs]
        by_row: list[int] | None = None
        if order.ends:
            rows = [row for *_, first_row, count in order.groups for row in range(first_row, first_row + count)]
            placed = [(row, [number]) for row, number in zip(rows, twigs, strict=True)]
            placed += [(row, ending[stem.ends[0].leaf]) for stem, row in order.ends]
            by_row = [number for _, numbers in sorted(placed) for number in numbers]
        full = min((twig.full for twig in order.twigs), default=self._tree.clock)
        return Arranged(runs, positions, np.array(twigs, np.int64), by_row, full)

    def may_share(self, runs: Runs, cost: TileCost) -> bool:
        """Whether any tails would rather share a tile."""
        return len(shared(runs, len(self._order.twigs), cost, cost.block).rows) > 0

    def even(self, runs: Runs, cost: TileCost, workers: int, most: float | None = None) -> Even:
        """The most that a tile should cost, and who shares one."""
        if most is None:
            most, _ = even_cost(runs, cost, workers)
        costs = piece_costs(runs, cost, longest_pieces(runs, cost, most))
        apart = Even(most, last_end(costs, workers), float(costs.sum()), 1)
        return even_tails(runs, len(self._order.twigs), cost, workers, apart)

    def cut(self, arranged: Arranged, cost: TileCost, even: Even, chunk: int | None) -> Cut:
        """Write all tables."""
        runs, positions = arranged.runs, arranged.positions
        fixed = chunk is not None
        longest = np.full_like(runs.length, chunk) if fixed else longest_pieces(runs, cost, even.most)
        tails = shared(runs, 0 if fixed else len(self._order.twigs), cost, even.together)
        places = Places.behind(self.used, runs, tails)
        apart = np.flatnonzero(tails.others(len(runs.length)))
        all_runs = Runs(*map(np.append, (column[apart] for column in runs), places.tiles))
        by_position = np.argsort(all_runs.position, kind="stable")
        pieces = cut(
            Runs(*(column[by_position] for column in all_runs)),
            cost.block,
            np.append(longest[apart], places.tiles.length)[by_position],
            np.append(np.zeros_like(apart), tails.width)[by_position],
            positions,
            merge_all=fixed,
            causal=arranged.order is not None,
        )
        self._tables.write(positions.astype(np.int32), pieces.merges, pieces.tiles, pieces.partials)
        places.write(runs, self._tables)
        tile_of = np.empty_like(by_position)
        tile_of[by_position] = pieces.last
        last, place = np.full((2, len(runs.length)), -1)
        last[apart] = tile_of[: len(apart)]
        place[places.run] = places.first + runs.length[places.run] - 1
        return Cut(len(pieces.tiles), len(pieces.partials), last, place, places.end, places.room)
