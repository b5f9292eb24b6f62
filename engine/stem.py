"""The tree of what a step reads, as far as it branches."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kv_node import KVNode

if TYPE_CHECKING:
    from .planner import Reader

Slots = NDArray[np.int32]
"""Places in the cache, `page * PAGE_SIZE + slot`, of consecutive tokens."""


class Joining(NamedTuple):
    """Whose rows read a stem's tokens in a tile of the stem; all others read them in tiles of their own.

    Attributes:
        twigs: How many of the stem's twigs.
        stems: Which of the stems below it.
    """

    twigs: int
    stems: tuple[Stem, ...]


NOBODY = Joining(0, ())


class Stem:
    """A run of tokens that the same rows read from end to end, cut into nodes in whatever way.

    Below it there are two readers or more, or rows end in it: where a run goes on undivided, it is one stem.

    Attributes:
        base: The stem that it grows from; None for the root, which has no tokens.
        last: The node that it ends with.
        start: Absolute position of the first token.
        slots: `[length]`, where its tokens are in the cache.
        length: Tokens.
        ends: Readers whose rows end here, other than twigs.
        own_rows: How many rows that are.
        twigs: What ends right after it, in order of birth.
        stems: The stems that grow from it, likewise.
        rows: Query rows of all that end here or above.
        costs: The least cost of everything from here on, by the tokens before it that come along (`tile_merging`).
        joining: The choice that it takes, likewise.
        region: Where its tokens, and those that come along, are among `Tiles.slots`; -1 if nowhere.
        carried: How many come along there.
        shape: What its costs depend on besides those of the stems that grow from it, when they were last computed.
    """

    __slots__ = (
        "base",
        "carried",
        "costs",
        "ends",
        "joining",
        "last",
        "length",
        "own_rows",
        "region",
        "rows",
        "shape",
        "slots",
        "start",
        "stems",
        "twigs",
    )

    def __init__(self, base: Stem | None, last: KVNode, start: int, slots: Slots) -> None:
        """Make a stem of the tokens in `slots`, up to the end of `last`, that `base` does not know of yet."""
        self.base = base
        self.last = last
        self.start = start
        self.slots = slots
        self.length = len(slots)
        self.ends: list[Reader] = []
        self.own_rows = 0
        self.twigs: dict[Twig, None] = {}
        self.stems: dict[Stem, None] = {}
        self.rows = 0
        self.costs: dict[int, float] = {}
        self.joining: dict[int, Joining] = {}
        self.region = -1
        self.carried = 0
        self.shape: tuple[object, ...] = ()

    def reshaped(self) -> bool:
        """Whether its costs, if they were known, are not true any more, whatever has happened above it."""
        before = self.shape
        self.shape = (self.start, self.length, self.own_rows, len(self.twigs), *self.stems)
        return self.shape != before

    def tail(self, tokens: int) -> Slots:
        """Slots of the last `tokens` tokens of the path that ends here."""
        parts: list[Slots] = [self.slots[:0]]
        stem: Stem | None = self
        while tokens > 0:
            assert stem is not None, "more tokens than the path has"
            taken = min(tokens, stem.length)
            parts.append(stem.slots[stem.length - taken :])
            tokens -= taken
            stem = stem.base
        return np.concatenate(parts[::-1])


class Twig:
    """The last run of a path, read by a single row: as a rule a branch that grows by a token with every step.

    Attributes:
        base: The stem that it grows from.
        leaf: The node that it ends in.
        start: Absolute position of the first token.
        span: Tokens, less the `StemTree.clock`: while the clock ticks every twig grows by itself.
        slots: `[length]`, where its tokens are in the cache, until they have a region.
        region: Where its tokens, and those that come along, are among `Tiles.slots`; -1 if nowhere.
        carried: How many come along there.
        full: The clock at which the region has no more room.
    """

    __slots__ = ("base", "carried", "full", "leaf", "region", "slots", "span", "start")

    def __init__(self, base: Stem, leaf: KVNode, start: int, span: int, slots: Slots) -> None:
        """Make a twig of the tokens in `slots`, up to a token of `leaf`, that `base` does not know of yet."""
        self.base = base
        self.leaf = leaf
        self.start = start
        self.span = span
        self.slots: Slots | None = slots
        self.region = -1
        self.carried = 0
        self.full = 0
