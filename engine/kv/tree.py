"""The KV cache as a tree: zero-copy forks, splits at any token, and eviction of the least recently used leaves."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from weakref import WeakValueDictionary

import numpy as np

from ...model import PAGE_SIZE
from ..errors import IntegrityError
from ..turn import Turn
from .eviction_queue import EvictionQueue
from .node import KVNode
from .page_pool import PagePool

_RELEASED, _HELD = 0, 1
"""Eviction queues: nodes that nobody holds go first. Held nodes can also lose their pages, but never their tokens."""


class KVTree:
    """All nodes and all pages of the KV cache.

    A node's pages can be evicted when no running request reads them and no child has pages. The node itself is removed
    if it then also has no handles and no children.

    Attributes:
        root: The node of the empty prefix, for prompts without a salt.
        pool: The pages.
        turn: Lets one thread at a time use the tree.
    """

    def __init__(self, pages: int) -> None:
        """Start with an empty tree over `pages` free pages."""
        self.pool = PagePool(pages)
        self.turn = Turn()
        self._serial = 0
        self._tick = 0
        self._dropped: deque[KVNode] = deque()
        self._queues = (EvictionQueue(), EvictionQueue())
        self.root = KVNode(None, [], 0)
        self._salted: WeakValueDictionary[str, KVNode] = WeakValueDictionary()

    # --- structure ---------------------------------------------------------------------------------------------

    def root_of(self, salt: str | None) -> KVNode:
        """The node of the empty prefix for prompts with this salt: only prompts with equal salts share nodes.

        A salt is forgotten with its last node.
        """
        if salt is None:
            return self.root
        root = self._salted.get(salt)
        if root is None:
            root = self._salted[salt] = KVNode(None, [], 0)
        return root

    @property
    def roots(self) -> list[KVNode]:
        """The roots of all prompts."""
        return [self.root, *self._salted.values()]

    def insert(self, parent: KVNode, tokens: list[int]) -> KVNode:
        """Return the node whose path is that of `parent` plus `tokens`.

        Existing nodes are reused as far as they match; a new node gets the remaining tokens.
        """
        node, matched = parent, 0
        while matched < len(tokens):
            child, common = _longest_match(node, tokens, matched)
            if child is None:
                created = self._new(node, tokens[matched:])
                node.add_child(created)
                return created
            node = self._split(child, common) if common < len(child.tokens) else child
            matched += common
        return node

    def has(self, parent: KVNode, tokens: Sequence[int]) -> bool:
        """Whether frozen nodes below `parent` contain all of `tokens`."""
        node, matched, wanted = parent, 0, list(tokens)
        while matched < len(wanted):
            child, common = _longest_match(node, wanted, matched)
            matched += common
            if child is None or common < len(child.tokens):
                break
            node = child
        return matched == len(wanted)

    def fork(self, parent: KVNode) -> KVNode:
        """An empty growing child of `parent`, for a branch to append to."""
        child = self._new(parent, [])
        parent.add_growing(child)
        return child

    def freeze(self, node: KVNode) -> None:
        """End the growth of `node`, which has at least one token; from now on it can be matched, split and forked."""
        parent = _parent(node)
        parent.remove_growing(node)
        parent.add_child(node)

    def discard(self, node: KVNode) -> None:
        """Remove a growing, unpinned node and its pages for good."""
        if node.pages:
            self.drop(node)
        parent = _parent(node)
        parent.remove_growing(node)
        self._leave_queues(node)
        self._prune(parent)

    def ancestor_at(self, node: KVNode, end: int) -> KVNode:
        """The node that ends after the first `end` tokens of the path to `node`; splits a node if necessary."""
        while node.start >= end:
            node = _parent(node)
        return node if node.end == end else self._split(node, end - node.start)

    def _new(self, parent: KVNode, tokens: list[int]) -> KVNode:
        self._serial += 1
        return KVNode(parent, tokens, self._serial, self._tick)

    def _split(self, lower: KVNode, at: int) -> KVNode:
        """Move the first `at` tokens of a frozen node into a new node above it; `lower` keeps the rest."""
        upper = self._new(_parent(lower), [])
        lower.move_head(upper, at)
        return upper

    # --- handles and pins --------------------------------------------------------------------------------------

    def hold(self, node: KVNode) -> None:
        """Add a handle to `node`, so that its tokens stay."""
        node.add_handle()
        self._offer(node)

    def release(self, node: KVNode) -> None:
        """Remove a handle. The pages stay cached until they are needed."""
        node.remove_handle()
        self._offer(node)
        self._prune(node)

    def release_later(self, node: KVNode) -> None:
        """Remove a handle as soon as no thread uses the engine. Safe in any thread and in finalizers."""
        self._dropped.append(node)
        self.turn.defer(self.release_dropped)

    def release_dropped(self) -> None:
        """Remove the handles passed to `release_later` since the last call."""
        while self._dropped:
            self.release(self._dropped.popleft())

    def pin(self, node: KVNode) -> None:
        """Protect the whole path of `node` from eviction while a request runs there."""
        self._tick += 1
        node.pin(self._tick)

    def unpin(self, node: KVNode) -> None:
        """Undo one `pin`."""
        node.unpin()
        for each in node.chain():
            self._offer(each)

    # --- pages -------------------------------------------------------------------------------------------------

    def reserve(self, node: KVNode, tokens: int) -> bool:
        """Give a pinned `node` pages for its first `tokens` tokens, evicting others if necessary.

        Returns:
            False if there are not enough pages; nothing is reserved then.
        """
        missing = -(-(node.first_slot + tokens) // PAGE_SIZE) - len(node.pages)
        if missing <= 0:
            return True
        if not self.vacate(missing):
            return False
        node.add_pages(self.pool.take(missing))
        return True

    def reserve_ahead(self, nodes: Sequence[KVNode], tokens: Sequence[int]) -> bool:
        """Reserve pages for several pinned nodes at once, so that each has slots for its number of `tokens`.

        Every node must have pages already.

        Returns:
            False if there are not enough pages for all of them; nothing is reserved then.
        """
        ends = np.array(tokens) + np.array([node.first_slot for node in nodes])
        lacking = np.maximum(-(-ends // PAGE_SIZE) - np.array([len(node.pages) for node in nodes]), 0)
        if not self.vacate(int(lacking.sum())):
            return False
        taken = iter(self.pool.take(int(lacking.sum())))
        for node, pages in zip(nodes, lacking.tolist(), strict=True):
            node.add_pages(islice(taken, pages))
        return True

    def vacate(self, pages: int) -> bool:
        """Evict nodes until `pages` pages are free; return False if that is impossible."""
        while self.pool.free < pages:
            if not self._evict_one():
                return False
        return True

    def trim(self, node: KVNode) -> None:
        """Free the pages after a node's computed tokens; its first page always stays."""
        self.pool.give(node.cut_pages())

    def drop(self, node: KVNode) -> None:
        """Free the pages of a node whose children have none; its tokens stay, so K and V can be recomputed."""
        self.pool.give(node.drop_pages())
        self._offer(_parent(node))

    def _evictable(self, node: KVNode) -> bool:
        return bool(node.pages) and node.readers == 0 and node.resident_children == 0

    def _offer(self, node: KVNode) -> None:
        """Queue `node` for eviction if it is evictable and not queued yet."""
        tier = _HELD if node.handles else _RELEASED
        if self._evictable(node):
            self._queues[tier].push(node)

    def _evict_one(self) -> bool:
        """Evict the least recently used node, released ones first; False if there is none."""
        for tier in (_RELEASED, _HELD):
            queue = self._queues[tier]
            while (entry := queue.pop()) is not None:
                node, seen = entry
                if not self._evictable(node) or (_HELD if node.handles else _RELEASED) != tier:
                    continue
                if node.last_used != seen:
                    self._offer(node)
                    continue
                self.drop(node)
                self._prune(node)
                return True
        return False

    def _prune(self, node: KVNode) -> None:
        """Remove `node` and then its ancestors, as far as they have no pages, handles or children."""
        while node.parent is not None and node not in node.parent.growing:
            if node.handles or node.readers or node.pages or not node.childless:
                return
            parent = node.parent
            parent.remove_child(node)
            self._leave_queues(node)
            node = parent

    def _leave_queues(self, node: KVNode) -> None:
        """Remove a node that has left the tree from the eviction queues."""
        for queue in self._queues:
            queue.remove(node)

    # --- integrity ---------------------------------------------------------------------------------------------

    def nodes(self) -> Iterator[KVNode]:
        """Every node below the roots, parents first."""
        pending = self.roots
        while pending:
            node = pending.pop()
            if node.parent is not None:
                yield node
            pending.extend(node.growing)
            pending.extend(child for siblings in node.children.values() for child in siblings)

    def check_integrity(self) -> None:
        """Check that every page is free or has one owner, every count is right, and every evictable node is queued.

        Raises:
            IntegrityError: Says which rule is broken and where.
        """
        self.release_dropped()
        owners: dict[int, str] = dict.fromkeys(self.pool.free_pages(), "the free list")
        if len(owners) != self.pool.free:
            raise IntegrityError("a page is free twice")
        for node in [*self.roots, *self.nodes()]:
            name = f"node {node.serial} at {node.start}..{node.end}"
            children = [*node.growing, *(child for siblings in node.children.values() for child in siblings)]
            for page in node.owned_pages:
                if page in owners:
                    raise IntegrityError(f"page {page} belongs to {owners[page]} and to {name}")
                owners[page] = name
            parent_pages = node.parent.pages if node.parent else []
            is_first = node.parent is not None and node.parent.parent is None
            tier = _HELD if node.handles else _RELEASED
            for rule, holds in {
                "a borrowed page is the parent's last": not node.borrowed or node.pages[0] == parent_pages[-1],
                "computed tokens have slots": node.computed <= node.capacity or node.computed == 0,
                "computed tokens exist": 0 <= node.computed <= len(node.tokens),
                "pages stand on a parent's pages": not node.pages or is_first or bool(parent_pages),
                "computed tokens follow computed ones": not node.computed
                or node.parent is None
                or node.parent.computed == len(node.parent.tokens),
                "starts where its parent ends": node.parent is None or node.start == node.parent.end,
                "handles are counted": node.handles >= 0,
                "readers are the subtree's pins": node.readers == node.pins + sum(c.readers for c in children),
                "resident children are counted": node.resident_children == sum(bool(c.pages) for c in children),
                "children are filed by first token": all(
                    child.tokens[0] == token for token, siblings in node.children.items() for child in siblings
                ),
                "children know their parent": all(child.parent is node for child in children),
                "evictable nodes are queued": not self._evictable(node) or node in self._queues[tier],
            }.items():
                if not holds:
                    raise IntegrityError(f"{name}: broken rule: {rule}")
        if len(owners) != self.pool.capacity:
            raise IntegrityError(f"{self.pool.capacity - len(owners)} pages have no owner")


def _parent(node: KVNode) -> KVNode:
    assert node.parent is not None, "the root has no parent"
    return node.parent


def _longest_match(node: KVNode, tokens: list[int], start: int) -> tuple[KVNode | None, int]:
    """The child with the longest match for `tokens[start:]`, and the number of matching tokens."""
    best: KVNode | None = None
    longest = 0
    for child in node.children.get(tokens[start], ()):
        limit = min(len(child.tokens), len(tokens) - start)
        common = next((i for i in range(limit) if child.tokens[i] != tokens[start + i]), limit)
        if common > longest:
            best, longest = child, common
    return best, longest
