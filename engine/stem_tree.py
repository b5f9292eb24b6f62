"""Keeps the tree of stems in step with the readers; a birth or an end changes its own path only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from ..model import PAGE_SIZE
from .kv_node import KVNode
from .slot_regions import SlotRegions
from .stem import Slots, Stem, Twig

if TYPE_CHECKING:
    from .planner import Reader

_PAGE = np.arange(PAGE_SIZE, dtype=np.int32)
_START = attrgetter("start")


class StemTree:
    """The stems and twigs of all paths that are read.

    What is true of a node stays true while somebody reads it, except that it can be split (`follow_splits`).

    Attributes:
        clock: Steps in which every twig has grown by a token.
        changed: Stems above which, or in which, something is new since `settle`.
    """

    def __init__(self, regions: SlotRegions) -> None:
        """Start empty, with twigs in `regions`."""
        self._regions = regions
        self._home: dict[KVNode, Stem | Twig] = {}
        self._starts: dict[KVNode, int] = {}
        self._root: Stem | None = None
        self.clock = self._followed_at = 0
        self.changed: dict[Stem, None] = {}

    @property
    def root(self) -> Stem:
        """The stem of the empty prefix."""
        assert self._root is not None, "nothing was read so far"
        return self._root

    # --- looking ------------------------------------------------------------------------------------------------

    def knows(self, node: KVNode) -> bool:
        """Whether `node` is part of a path that is read."""
        return node in self._home

    def strangers(self, leaves: Iterable[KVNode]) -> list[KVNode]:
        """Those of `leaves` that are not known."""
        return [leaf for leaf in leaves if leaf not in self._home]

    def stems(self) -> list[Stem]:
        """All stems but the root, lower ones first."""
        stems = list(self.root.stems)
        for stem in stems:
            stems += stem.stems
        return stems

    def twig_tokens(self) -> int:
        """Tokens of all twigs."""
        twigs = [twig.span for stem in (self.root, *self.stems()) for twig in stem.twigs]
        return sum(twigs) + len(twigs) * self.clock

    def length(self, twig: Twig) -> int:
        """Tokens of `twig`."""
        return twig.span + self.clock

    def own_slots(self, twig: Twig) -> Slots:
        """Slots of the tokens of `twig`."""
        if twig.slots is not None:
            return twig.slots
        first = twig.region + twig.carried
        return self._regions.slots[first : first + self.length(twig)].copy()

    # --- readers come and go ------------------------------------------------------------------------------------

    def add_twig(self, reader: Reader) -> None:
        """Let the single row of `reader` end in a twig; nobody else reads the end of its leaf."""
        path = self._strange_path(reader.leaf)
        base = self._base(path[-1])
        slots = path_slots(path, reader.first + 1)
        twig = Twig(base, reader.leaf, path[-1].start, len(slots) - self.clock, slots)
        base.twigs[twig] = None
        for node in path:
            self._home[node] = twig
            self._starts[node] = node.start
        self.changed[base] = None

    def add_ends(self, readers: Sequence[Reader]) -> None:
        """Let all rows of `readers`, which end in the same leaf, end in a stem."""
        leaf = readers[0].leaf
        if leaf in self._home:
            stem = self._ending_with(leaf)
        else:
            path = self._strange_path(leaf)
            base = self._base(path[-1])
            slots = path_slots(path, max(reader.first + reader.rows for reader in readers))
            stem = Stem(base, leaf, path[-1].start, slots)
            base.stems[stem] = None
            for node in path:
                self._home[node] = stem
                self._starts[node] = node.start
        self.end(stem, readers)

    def end(self, stem: Stem, readers: Sequence[Reader]) -> None:
        """Let the rows of `readers`, and no others, end in `stem`."""
        stem.ends = list(readers)
        stem.own_rows = sum(reader.rows for reader in readers)
        self.changed[stem] = None

    def remove_twig(self, twig: Twig) -> None:
        """Forget a twig and the nodes that are only on its path."""
        del twig.base.twigs[twig]
        self.changed[twig.base] = None
        self._forget(twig.leaf, twig.base)

    def remove_stem(self, stem: Stem) -> None:
        """Forget a stem from which nothing grows, and the nodes that are only on its path."""
        base = stem.base
        assert base is not None, "the root stays"
        del base.stems[stem]
        self.changed.pop(stem, None)
        self.changed[base] = None
        self._forget(stem.last, base)

    def pass_on(self, twig: Twig, leaf: KVNode) -> None:
        """Let `leaf`, a child of the leaf of `twig`, go on as its end."""
        twig.leaf = leaf
        self._home[leaf] = twig
        self._starts[leaf] = leaf.start

    def settle(self) -> None:
        """Remove stems that nobody reads, join those that go on undivided, and forget costs that are no longer true."""
        self.tidy()
        pending = [stem for stem in self.changed if stem.reshaped()]
        stale = dict.fromkeys(pending)
        for stem in pending:
            base = stem.base
            while base is not None and base not in stale:
                base.reshaped()
                stale[base] = None
                base = base.base
        stale.pop(self.root, None)
        for stem in [*sorted(stale, key=_START, reverse=True), self.root]:
            rows = len(stem.twigs) + stem.own_rows
            for upper in stem.stems:
                rows += upper.rows
            stem.rows = rows
            stem.costs.clear()
        self.changed.clear()

    def reprice(self) -> None:
        """Forget all costs."""
        for stem in (self.root, *self.stems()):
            stem.costs.clear()

    # --- inside -------------------------------------------------------------------------------------------------

    def _strange_path(self, node: KVNode) -> list[KVNode]:
        """The nodes from `node` down to the last one that is not known."""
        path = [node]
        lower = node.parent
        if lower not in self._home and self._followed_at != self.clock:
            self._followed_at = self.clock
            self._follow_splits()
        while lower is not None and lower not in self._home:
            path.append(lower)
            lower = lower.parent
        if lower is None:
            root = path.pop()
            self._home[root] = self._root = Stem(None, root, 0, np.empty(0, np.int32))
        return path

    def _follow_splits(self) -> None:
        """Learn of the upper parts of nodes that were split: they belong where the lower part does."""
        if list(map(_START, self._starts)) == list(self._starts.values()):
            return
        for node in [node for node, start in self._starts.items() if node.start != start]:
            home = self._home[node]
            self._starts[node] = node.start
            upper = node.parent
            while upper is not None and upper not in self._home:
                self._home[upper] = home
                self._starts[upper] = upper.start
                upper = upper.parent

    def _base(self, node: KVNode) -> Stem:
        """The stem that ends where `node` starts."""
        assert node.parent is not None, "the root is a stem"
        home = self._home[node.parent]
        return home if isinstance(home, Stem) and home.last is node.parent else self._ending_with(node.parent)

    def _forget(self, last: KVNode, base: Stem) -> None:
        """Forget the nodes from `last` down to the end of `base`."""
        node: KVNode | None = last
        while node is not None and node is not base.last:
            self._home.pop(node, None)
            self._starts.pop(node, None)
            node = node.parent

    def _move_in(self, last: KVNode, base: Stem, home: Stem | Twig) -> None:
        """Let the nodes from `last` down to the end of `base` belong to `home`."""
        node: KVNode | None = last
        while node is not None and node is not base.last:
            self._home[node] = home
            node = node.parent

    def _ending_with(self, node: KVNode) -> Stem:
        """The stem that ends with the known `node`, cut off or made of a twig if there is none."""
        home = self._home[node]
        if isinstance(home, Stem):
            return home if home.last is node else self._cut_stem(home, node)
        return self._harden(home) if home.leaf is node else self._cut_twig(home, node)

    def _cut_stem(self, upper: Stem, node: KVNode) -> Stem:
        """Cut a new stem that ends with `node` off the lower end of `upper`."""
        base = upper.base
        assert base is not None
        at = node.start + len(node.tokens) - upper.start
        stem = Stem(base, node, upper.start, upper.slots[:at])
        upper.base, upper.start, upper.slots, upper.length = stem, upper.start + at, upper.slots[at:], upper.length - at
        upper.carried += at
        del base.stems[upper]
        base.stems[stem] = None
        stem.stems[upper] = None
        self._move_in(node, base, stem)
        self.changed[upper] = None
        return stem

    def _cut_twig(self, twig: Twig, node: KVNode) -> Stem:
        """Cut a new stem that ends with `node` off the lower end of `twig`."""
        base = twig.base
        at = node.start + len(node.tokens) - twig.start
        slots = self.own_slots(twig)
        stem = Stem(base, node, twig.start, slots[:at])
        if twig.slots is not None:
            twig.slots = slots[at:]
        twig.base, twig.start, twig.span = stem, twig.start + at, twig.span - at
        twig.carried += at
        del base.twigs[twig]
        base.stems[stem] = None
        stem.twigs[twig] = None
        self._move_in(node, base, stem)
        self.changed[stem] = None
        return stem

    def _harden(self, twig: Twig) -> Stem:
        """Make a stem of a twig that no row ends in any more."""
        base = twig.base
        stem = Stem(base, twig.leaf, twig.start, self.own_slots(twig))
        del base.twigs[twig]
        base.stems[stem] = None
        self._move_in(twig.leaf, base, stem)
        self.changed[stem] = None
        return stem

    def tidy(self) -> None:
        """Remove what nobody reads and join what goes on undivided."""
        pending = list(self.changed)
        while pending:
            stem = pending.pop()
            base = stem.base
            if base is None or stem.ends or stem not in self.changed:
                continue
            branches = len(stem.twigs) + len(stem.stems)
            if branches > 1:
                continue
            del base.stems[stem]
            del self.changed[stem]
            self.changed[base] = None
            if branches == 0:
                self._forget(stem.last, base)
                pending.append(base)
            elif stem.twigs:
                self._join_twig(stem, base, next(iter(stem.twigs)))
            else:
                self._join_stem(stem, base, next(iter(stem.stems)))

    def _join_twig(self, stem: Stem, base: Stem, twig: Twig) -> None:
        """Let `stem` be the first part of `twig`, the only thing that grows from it."""
        if twig.slots is None and twig.carried >= stem.length:
            twig.carried -= stem.length
        else:
            twig.slots = np.concatenate((stem.slots, self.own_slots(twig)))
            twig.region = -1
        twig.base, twig.start, twig.span = base, stem.start, twig.span + stem.length
        base.twigs[twig] = None
        self._move_in(stem.last, base, twig)

    def _join_stem(self, stem: Stem, base: Stem, upper: Stem) -> None:
        """Let `stem` be the first part of `upper`, the only thing that grows from it."""
        upper.slots = np.concatenate((stem.slots, upper.slots))
        upper.base, upper.start, upper.length = base, stem.start, upper.length + stem.length
        upper.region = -1
        base.stems[upper] = None
        self._move_in(stem.last, base, upper)
        self.changed[upper] = None


def path_slots(path: Sequence[KVNode], covered: int) -> Slots:
    """Slots of all tokens of a path, given from its end down, of whose last node only `covered` tokens are read."""
    parts = [_node_slots(path[0], covered)]
    parts += [_node_slots(node, len(node.tokens)) for node in path[1:]]
    return parts[0] if len(parts) == 1 else np.concatenate(parts[::-1])


def _node_slots(node: KVNode, count: int) -> Slots:
    """Slots of the first `count` tokens of `node`."""
    if count == 1:
        return np.array([node.pages[0] * PAGE_SIZE + node.first_slot], np.int32)
    if node.first_slot + count <= PAGE_SIZE:
        return _PAGE[node.first_slot : node.first_slot + count] + np.int32(node.pages[0] * PAGE_SIZE)
    pages = np.array(node.pages[: -(-(node.first_slot + count) // PAGE_SIZE)], np.int32)
    slots: Slots = (pages[:, None] * PAGE_SIZE + _PAGE).ravel()
    return slots[node.first_slot : node.first_slot + count]
