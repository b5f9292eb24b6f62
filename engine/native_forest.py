"""The forest in C++: a step in which everything forks costs it about as much as asking all nodes what they are."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable, Sequence
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.cpu.build import built_library
from ..kernels.errors import KernelBuildError, NoCompilerError
from ..model import PAGE_SIZE
from .forest import Append, Arranged, Asked, Cut, Even
from .kv_node import KVNode
from .stem import Slots
from .stem_tree import path_slots
from .tile_cost import TileCost
from .tile_cutting import Counts, Runs
from .tile_tables import TileTables

_SOURCES = Path(__file__).parent / "src"
_BUILD_SECONDS = 5

_TYPES: Final = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double, "": None}

_PRICES: Final = "ddddi"

_SIGNATURES: Final = {
    "new": ("", "p"),
    "delete": ("p", ""),
    "sort": ("ppii" + "ppppp", "i"),
    "grow": ("ppi" + "ppppp", "i"),
    "free": ("pppp", "i"),
    "enter": ("p" + "pp" + "pppp" + "pp", "i"),
    "starts": ("pipp", ""),
    "split": ("piiii", ""),
    "forgotten": ("pp", "i"),
    "settle": ("p", "i"),
    "reprice": ("p", ""),
    "solve": ("p" + _PRICES, "d"),
    "order": ("pip", ""),
    "runs": ("pipp", ""),
    "rows": ("pppp", "i"),
    "find_layouts": ("pi", "i"),
    "clear_regions": ("p", ""),
    "lay_out": ("ppi", "i"),
    "may_share": ("ppi" + _PRICES, "i"),
    "even_cost": ("piii" + _PRICES + "dp", "i"),
    "cut": ("ppi" + _PRICES + "diiii" + "pip", ""),
    "tables": ("ppi" + "ppppp" + "ipp", "i"),
}
"""Parameters and result of every function of `src/marcot.cpp`: p a pointer, i an int64, d a double."""

_SERIAL, _START, _PARENT = attrgetter("serial"), attrgetter("start"), attrgetter("parent")
_PAGES, _FIRST_SLOT = attrgetter("pages"), attrgetter("first_slot")
_CHILDREN, _GROWING = attrgetter("children"), attrgetter("growing")


@cache
def library() -> ctypes.CDLL | None:
    """The compiled library; None where it cannot be built."""
    try:
        path = built_library(_SOURCES, what="the planner", seconds=_BUILD_SECONDS, parallel=False)
        loaded = ctypes.CDLL(str(path))
    except (NoCompilerError, KernelBuildError, OSError):
        return None
    for name, (parameters, result) in _SIGNATURES.items():
        function = getattr(loaded, "marcot_" + name)
        function.argtypes = [_TYPES[kind] for kind in parameters]
        function.restype = _TYPES[result]
    return loaded


class _Births(NamedTuple):
    """The new parts of the paths of all that is born, one after the other, each from its end down.

    Attributes:
        ends: Of each, where its leaf ends.
        childless: Whether nothing continues the leaf.
        nodes: How many nodes are new.
        serials: Their serial numbers.
        parents: Those of their parents.
        starts: Where they start.
        tokens: How many tokens that is, up to the last one that is read.
        slots: Where these are in the cache, from the first one up.
    """

    ends: Counts
    childless: Counts
    nodes: Counts
    serials: Counts
    parents: Counts
    starts: Counts
    tokens: Counts
    slots: Slots


class NativeForest:
    """A `Forest` in C++, which knows nodes by their serial numbers."""

    def __init__(self, loaded: ctypes.CDLL, tables: TileTables) -> None:
        """Start empty, in the library `loaded`, with regions in `tables`."""
        self._library = loaded
        self._handle = loaded.marcot_new()
        weakref.finalize(self, loaded.marcot_delete, self._handle)
        self._tables = tables
        self._nodes: dict[int, KVNode] = {}
        self._ends: list[KVNode] = []
        self._counts = np.zeros(4, np.int64)
        self.clock = 0
        self.used = 0

    # --- from one step to the next ------------------------------------------------------------------------------

    def follow(self, asked: Asked, due: Counts, append: Append) -> bool:
        """Go on from the step before to this one."""
        count = len(asked.leaves)
        leaves = _integers(map(_SERIAL, asked.leaves), count)
        rows, writes = (_integers(column, count) for column in (asked.rows, asked.writes))
        readers = np.empty(count, np.int64)
        slots = self._tables.slots
        found = self._call("sort", slots, self.clock, count, leaves, asked.firsts, rows, writes, readers)
        strangers = readers[:found]
        self.clock += 1

        nodes = [asked.leaves[i] for i in strangers.tolist()]
        parents = _integers(map(_SERIAL, map(_PARENT, nodes)), found)
        starts = _integers(map(_START, nodes), found)
        kept, going_on = np.empty((2, len(due)), np.int64)
        growing = self._call("grow", due, found, strangers, parents, starts, kept, going_on)
        going_on = going_on[:growing]
        if found and growing:  # strangers may have inherited twigs
            self._nodes.update((asked.leaves[i].serial, asked.leaves[i]) for i in going_on.tolist())
        append(kept[:growing], asked.leaves, going_on, asked.firsts[going_on])

        ends = _integers((node.end for node in self._ends), len(self._ends))
        born, covered = np.empty((2, count), np.int64)
        births = self._call("free", ends, born, covered)
        born, covered = born[:births], covered[:births]
        self._forget()
        entered: _Births | None = None
        if births and np.array_equal(born, strangers) and int(covered.max()) == 1:
            entered = self._of_forks(nodes, leaves[born], parents, starts)
        if entered is None:
            entered = self._of_paths([asked.leaves[i] for i in born.tolist()], covered.tolist())
        return bool(self._call("enter", *entered))

    def _of_forks(self, nodes: list[KVNode], serials: Counts, parents: Counts, starts: Counts) -> _Births | None:
        """Births of branches that have drawn one token each; None if more than that is new."""
        known = np.empty(len(nodes), np.int64)
        self._call("starts", len(nodes), parents, known)
        if int(known.min()) < 0:
            return None
        ones = np.ones(len(nodes), np.int64)
        pages = _integers([pages[0] for pages in map(_PAGES, nodes)], len(nodes))
        slots = (pages * PAGE_SIZE + _integers(map(_FIRST_SLOT, nodes), len(nodes))).astype(np.int32)
        if any(map(_CHILDREN, nodes)) or any(map(_GROWING, nodes)):
            return None
        self._nodes.update(zip(serials.tolist(), nodes, strict=True))
        return _Births(starts, ones, ones, serials, parents, starts, ones, slots)

    def _of_paths(self, leaves: Sequence[KVNode], covered: Sequence[int]) -> _Births:
        """Births of anything else."""
        nodes: list[list[KVNode]] = []
        slots: list[Slots] = [np.empty(0, np.int32)]
        tokens: list[int] = []
        if any(leaf.serial not in self._nodes and _parent(leaf).serial not in self._nodes for leaf in leaves):
            self._follow_splits()
        for leaf, count in zip(leaves, covered, strict=True):
            path = self._strange_path(leaf)
            nodes.append(path)
            slots.append(path_slots(path, count) if path else slots[0])
            tokens.append(len(slots[-1]))
        all_nodes = [node for path in nodes for node in path]
        return _Births(
            _integers((leaf.end for leaf in leaves), len(leaves)),
            _integers((leaf.childless for leaf in leaves), len(leaves)),
            _integers(map(len, nodes), len(nodes)),
            _integers(map(_SERIAL, all_nodes), len(all_nodes)),
            _integers((_parent(node).serial for node in all_nodes), len(all_nodes)),
            _integers(map(_START, all_nodes), len(all_nodes)),
            np.array(tokens, np.int64),
            np.concatenate(slots),
        )

    def _strange_path(self, leaf: KVNode) -> list[KVNode]:
        """The nodes from `leaf` down to the last one that is not known; they are from now on."""
        path: list[KVNode] = []
        node = leaf
        while node.serial not in self._nodes and node.parent is not None:
            path.append(node)
            node = node.parent
        self._nodes.update((node.serial, node) for node in path)
        return path

    def _follow_splits(self) -> None:
        """Learn of the upper parts of nodes that were split: they belong where the lower part does."""
        nodes = list(self._nodes.values())
        before = np.empty(len(nodes), np.int64)
        self._call("starts", len(nodes), _integers(self._nodes, len(nodes)), before)
        now = _integers(map(_START, nodes), len(nodes))
        for i in np.flatnonzero((before >= 0) & (before != now)).tolist():
            lower, upper = nodes[i], nodes[i].parent
            while upper is not None and upper.parent is not None and upper.serial not in self._nodes:
                self._call("split", lower.serial, lower.start, upper.serial, upper.start)
                self._nodes[upper.serial] = upper
                lower, upper = upper, upper.parent

    def _forget(self) -> None:
        """Forget the nodes that nobody reads any more."""
        count = self._call("forgotten", None)
        if count:
            serials = np.empty(count, np.int64)
            self._call("forgotten", serials)
            for serial in serials.tolist():
                self._nodes.pop(serial, None)

    def settle(self) -> int:
        """Find out which costs are no longer true."""
        rows = int(self._call("settle"))
        self._forget()
        return rows

    # --- who reads what -----------------------------------------------------------------------------------------

    def reprice(self) -> None:
        """Forget all costs."""
        self._call("reprice")

    def solve(self, cost: TileCost) -> float:
        """Choose who reads what together."""
        return float(self._call("solve", *cost))

    def order(self, chunk: int | None) -> None:
        """Put the rows in order."""
        self._call("order", chunk or 0, self._counts)

    def lay_out(self, room: int) -> None:
        """Give regions to all that need one."""
        size = self._call("find_layouts", self.clock + room)
        if self.used + size > len(self._tables.slots):
            self._call("clear_regions")
            size = self._call("find_layouts", self.clock + room)
            self.used = 0
            self._tables.reserve_slots(2 * size)
        self.used = int(self._call("lay_out", self._tables.slots, self.used))

    def runs(self) -> Runs:
        """What is read together."""
        return self._table()[0]

    def _table(self) -> tuple[Runs, Counts]:
        """What is read together, and the positions of the rows of twigs."""
        twigs, runs, _, rows = self._counts.tolist()
        table = np.empty((len(Runs._fields), twigs + runs), np.int64)
        positions = np.empty(rows, np.int64)
        self._call("runs", self.clock, table, positions)
        return Runs(*table), positions

    def arranged(self, asked: Asked) -> Arranged:
        """The rows of the step."""
        runs, positions = self._table()
        twigs, _, ends, _ = self._counts.tolist()
        readers, end_readers, end_rows = (np.empty(size, np.int64) for size in (twigs, ends, ends))
        full = int(self._call("rows", readers, end_readers, end_rows))
        self._ends = [asked.leaves[i] for i in end_readers.tolist()]
        order = self._with_ends(asked, runs.first_row[:twigs], readers, end_rows, positions) if ends else None
        return Arranged(runs, positions, readers, order, full if twigs else self.clock)

    def _with_ends(
        self, asked: Asked, twig_rows: Counts, twig_readers: Counts, end_rows: Counts, positions: Counts
    ) -> list[int]:
        """Readers in the order of their rows; fills in the positions of those that end in stems."""
        ending: dict[KVNode, list[int]] = {leaf: [] for leaf in self._ends}
        for number, leaf in enumerate(asked.leaves):
            if leaf in ending:
                ending[leaf].append(number)
        placed = [(row, [number]) for row, number in zip(twig_rows.tolist(), twig_readers.tolist(), strict=True)]
        for leaf, row in zip(self._ends, end_rows.tolist(), strict=True):
            placed.append((row, ending[leaf]))
            at = row
            for number in ending[leaf]:
                begin, count = leaf.start + int(asked.firsts[number]), asked.rows[number]
                positions[at : at + count] = np.arange(begin, begin + count)
                at += count
        return [number for _, numbers in sorted(placed) for number in numbers]

    def may_share(self, runs: Runs, cost: TileCost) -> bool:
        """Whether any tails would rather share a tile."""
        table = np.stack(runs)
        return bool(self._call("may_share", table, table.shape[1], *cost))

    def even(self, runs: Runs, cost: TileCost, workers: int, most: float | None = None) -> Even:
        """The most that a tile should cost, and who shares one."""
        table = np.stack(runs)
        found = np.empty(3)
        sizes = table.shape[1], int(self._counts[0]), workers
        given = 0.0 if most is None else most
        together = self._library.marcot_even_cost(table.ctypes.data, *sizes, *cost, given, found.ctypes.data)
        chosen, end, total = found.tolist()
        return Even(chosen, end, total, together)

    def cut(self, arranged: Arranged, cost: TileCost, even: Even, chunk: int | None) -> Cut:
        """Write all tables."""
        tables, positions = self._tables, arranged.positions
        table, sizes, rows = np.stack(arranged.runs), np.empty(3, np.int64), len(positions)
        count, causal = table.shape[1], arranged.order is not None
        rules = (even.most, even.together, self.used, chunk or 0, causal)
        self._call("cut", table, count, *cost, *rules, positions, rows, sizes)
        tiles, partials, shared = sizes.tolist()
        tables.reserve(rows, tiles, partials)
        tables.extend_slots(self.used + shared)
        tables.positions[:rows] = positions
        tables.tails[:rows] = 0
        last, places = np.empty((2, count), np.int64)
        written = (tables.tiles, tables.partials, tables.merges, tables.tails, tables.slots, self.used, last, places)
        room = self._call("tables", table, count, *written)
        return Cut(tiles, partials, last, places, self.used + shared, room)

    def _call(self, name: str, *arguments: NDArray[np.generic] | float | None) -> int:
        """Call `marcot_<name>` on this forest; arrays pass their memory."""
        values = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
        result: int = getattr(self._library, "marcot_" + name)(self._handle, *values)
        return result


def _parent(node: KVNode) -> KVNode:
    assert node.parent is not None, "nobody reads the root"
    return node.parent


def _integers(values: Iterable[int], count: int) -> Counts:
    if isinstance(values, tuple) and values.count(1) == count:
        return np.ones(count, np.int64)
    return np.fromiter(values, np.int64, count)
