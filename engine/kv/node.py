"""A node of the KV tree: a run of tokens and the pages that cache their K and V."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...model import PAGE_SIZE

_HASH_MULTIPLIER = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


class Distribution(NamedTuple):
    """The stored part of the next-token distribution after a node.

    Attributes:
        top_ids: `[k]` int64, the most probable tokens, best first.
        top_logits: `[k]` fp32, their raw logits.
        lse: Log-sum-exp of all raw logits.
    """

    top_ids: NDArray[np.int64]
    top_logits: NDArray[np.float32]
    lse: float


class KVNode:
    """A run of tokens below its parent.

    Only the methods below write its attributes; `KVTree` and the scheduler call them. `pin` and `unpin` count on the
    whole path; every other method changes this node, and `resident_children` of its parent.

    Token `i` of the node is in slot `first_slot + i` of the concatenated `pages`. After a split in the middle of a
    page, both halves list that page. It belongs to the upper half, which cannot lose it before the lower one does.

    Attributes:
        parent: The node above; None for roots only.
        children: Frozen children by their first token; several may start with the same token.
        growing: Children that are still being appended to; they cannot be matched or split.
        tokens: The run's token ids.
        start: Absolute position of the first token.
        pages: Page ids; empty when nothing is cached.
        first_slot: Slot of the first token in the first page.
        borrowed: Whether the first page belongs to the parent.
        computed: How many tokens from the start of the run have their K and V in the pages.
        ever_computed: The largest value `computed` has had, to tell recomputation from first computation.
        handles: Number of handles: public nodes, and requests that keep their node until a public node exists.
        pins: Number of running requests whose path ends in this node.
        readers: Number of running requests whose path includes this node: the sum of `pins` over its subtree.
        resident_children: Number of children that have pages.
        last_used: Tick of the last use, for least-recently-used eviction.
        serial: Creation order; siblings sort by it.
        hidden: `[hidden]`, final hidden state of the last token, or None.
        distribution: The next-token distribution after the last token, or None.
    """

    __slots__ = (
        "__weakref__",
        "_hash",
        "borrowed",
        "children",
        "computed",
        "distribution",
        "ever_computed",
        "first_slot",
        "growing",
        "handles",
        "hidden",
        "last_used",
        "pages",
        "parent",
        "pins",
        "readers",
        "resident_children",
        "serial",
        "start",
        "tokens",
    )

    def __init__(self, parent: KVNode | None, tokens: list[int], serial: int, tick: int = 0) -> None:
        """Make a node without pages below `parent`, last used at `tick`. The caller adds it to those of `parent`."""
        self.parent = parent
        self.children: dict[int, list[KVNode]] = {}
        self.growing: set[KVNode] = set()
        self.tokens = tokens
        self.start = parent.end if parent else 0
        self.pages: list[int] = []
        self.first_slot = 0
        self.borrowed = False
        self.computed = 0
        self.ever_computed = 0
        self.handles = 0
        self.pins = 0
        self.readers = 0
        self.resident_children = 0
        self.last_used = tick
        self.serial = serial
        self.hidden: Tensor | None = None
        self.distribution: Distribution | None = None
        self._hash: int | None = None

    # --- position and users -----------------------------------------------------------------------------------------

    def add_child(self, child: KVNode) -> None:
        """Add a frozen child, which has at least one token."""
        self.children.setdefault(child.tokens[0], []).append(child)

    def remove_child(self, child: KVNode) -> None:
        """Remove a frozen child."""
        siblings = self.children[child.tokens[0]]
        siblings.remove(child)
        if not siblings:
            del self.children[child.tokens[0]]

    def add_growing(self, child: KVNode) -> None:
        """Add a child that is still being appended to."""
        self.growing.add(child)

    def remove_growing(self, child: KVNode) -> None:
        """Remove a child that is still being appended to."""
        self.growing.remove(child)

    def add_handle(self) -> None:
        """Add a handle."""
        self.handles += 1

    def remove_handle(self) -> None:
        """Remove a handle."""
        self.handles -= 1

    def pin(self, tick: int) -> None:
        """Count a running request whose path ends here: a use of the whole path at `tick`."""
        self.pins += 1
        for node in self.chain():
            node.readers += 1
            node.last_used = tick

    def unpin(self) -> None:
        """Undo one `pin`, but not the use."""
        self.pins -= 1
        for node in self.chain():
            node.readers -= 1

    # --- tokens, pages and results ----------------------------------------------------------------------------------

    def extend(self, tokens: Iterable[int]) -> None:
        """Append tokens to a growing node; their K and V are not computed."""
        self.tokens.extend(tokens)

    def count_computed(self, tokens: int) -> None:
        """Record that K and V of the node's first `tokens` tokens are in its pages."""
        self.computed = tokens
        self.ever_computed = max(self.ever_computed, tokens)

    def add_pages(self, pages: Iterable[int]) -> None:
        """Append pages; at least one if the node has none."""
        if not self.pages and self.parent is not None:
            self.parent.resident_children += 1
        self.pages.extend(pages)

    def cut_pages(self) -> list[int]:
        """Remove and return the pages after the computed tokens, but not the first page."""
        used = max(-(-(self.first_slot + self.computed) // PAGE_SIZE), 1)
        unused = self.pages[used:]
        del self.pages[used:]
        return unused

    def drop_pages(self) -> list[int]:
        """Remove all pages, of which there is at least one, and return those that belong to the node."""
        owned = self.owned_pages
        self.pages, self.first_slot, self.borrowed, self.computed = [], 0, False, 0
        if self.parent is not None:
            self.parent.resident_children -= 1
        return owned

    def move_head(self, upper: KVNode, at: int) -> None:
        """Move the first `at` tokens of a frozen node and their pages to `upper`, a new node that takes its place.

        This node goes on below it. Whoever uses this node uses `upper` too.
        """
        assert self.parent is not None, "the root is not split"
        full_pages, cut_slot = divmod(self.first_slot + at, PAGE_SIZE)
        siblings = self.parent.children[self.tokens[0]]
        siblings[siblings.index(self)] = upper
        upper.tokens = self.tokens[:at]
        upper.first_slot, upper.borrowed = self.first_slot, self.borrowed
        upper.pages = self.pages[: full_pages + (cut_slot > 0)]
        upper.computed, upper.ever_computed = min(self.computed, at), min(self.ever_computed, at)

        self.parent, self.start, self.tokens = upper, self.start + at, self.tokens[at:]
        self.pages = self.pages[full_pages:]
        self.borrowed = cut_slot > 0 and bool(self.pages)
        self.first_slot = cut_slot if self.pages else 0
        self.computed, self.ever_computed = max(self.computed - at, 0), max(self.ever_computed - at, 0)
        upper.resident_children = int(bool(self.pages))
        upper.children = {self.tokens[0]: [self]}
        upper.readers, upper.last_used = self.readers, self.last_used

    def keep_hidden(self, state: Tensor) -> None:
        """Store the hidden state of the last token, `[hidden]`, from which the next token is drawn."""
        self.hidden = state

    def keep_distribution(self, distribution: Distribution) -> None:
        """Store the next-token distribution after the last token, so that a fork here needs no forward pass."""
        self.distribution = distribution

    @property
    def end(self) -> int:
        """Absolute position of the last token, plus 1."""
        return self.start + len(self.tokens)

    @property
    def capacity(self) -> int:
        """How many tokens of the node fit in its pages."""
        return len(self.pages) * PAGE_SIZE - self.first_slot

    @property
    def owned_pages(self) -> list[int]:
        """The node's pages without a borrowed one: those that become free when it is evicted."""
        return self.pages[1:] if self.borrowed else self.pages

    @property
    def childless(self) -> bool:
        """Whether the node has no children, frozen or growing."""
        return not self.children and not self.growing

    def slots(self, first: int, count: int) -> list[int]:
        """Cache slots of `count` tokens from token `first` on, as `page * PAGE_SIZE + offset`."""
        begin = self.first_slot + first
        return [self.pages[i // PAGE_SIZE] * PAGE_SIZE + i % PAGE_SIZE for i in range(begin, begin + count)]

    def chain(self) -> Iterator[KVNode]:
        """This node and all nodes above it, up to the root."""
        node: KVNode | None = self
        while node is not None:
            yield node
            node = node.parent

    def path(self) -> list[KVNode]:
        """The nodes from the first one below the root down to this one."""
        nodes = []
        node = self
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        nodes.reverse()
        return nodes

    def path_ids(self) -> list[int]:
        """All tokens from the root to the end of this node."""
        return list(chain.from_iterable(node.tokens for node in self.path()))

    def path_hash(self) -> int:
        """64-bit hash of all tokens from the root on, independent of how they are cut into nodes."""
        missing = []
        node: KVNode | None = self
        while node is not None and node._hash is None:
            missing.append(node)
            node = node.parent
        value = node._hash if node is not None and node._hash is not None else 0
        for part in reversed(missing):
            for token in part.tokens:
                value = ((value ^ token) * _HASH_MULTIPLIER + 1) & _MASK
            part._hash = value
        return value
