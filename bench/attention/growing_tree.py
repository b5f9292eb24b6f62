"""A KV tree of many branches, and what can happen to all of them between two steps."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from marcot.engine.job import Prefill
from marcot.engine.kv_node import KVNode
from marcot.engine.kv_tree import KVTree
from marcot.engine.planner import Reader
from marcot.engine.usage import Usage

_PROMPT, _PIECE = 500, 32
"""Tokens of the prompt and of every other node, as mini-steps have them."""

_PAGES_PER_NODE = 4
"""Pages for a piece, for all that grows behind it, and for the prompt."""

_FORKS = 0.4
"""How often a node grows beside another one, and not behind it."""


class GrowingTree:
    """Branches that all draw a token with every step.

    Attributes:
        branches: Their growing nodes.
        random: What changes are drawn from.
    """

    def __init__(self, nodes: int, branches: int, random: Random) -> None:
        """Grow a random tree: a branch at each of its leaves, and `nodes` nodes on their paths."""
        self.random = random
        self._tree = KVTree(_PAGES_PER_NODE * (nodes + 2 * branches) + 100)
        leaves = [self._computed(self._tree.root, _PROMPT)]
        inner = 1
        while inner < nodes - branches:
            at = random.randrange(len(leaves))
            forks = len(leaves) < branches and random.random() < _FORKS
            above = [self._computed(leaves[at], _PIECE) for _ in range(1 + forks)]
            leaves[at : at + 1] = above
            inner += len(above)
        self.branches = [self._fork(leaf) for leaf in (leaves + random.choices(leaves, k=branches))[:branches]]

    @property
    def nodes(self) -> int:
        """Nodes on the paths of all branches."""
        found: set[KVNode] = set()
        for branch in self.branches:
            node: KVNode | None = branch
            while node is not None and node not in found:
                found.add(node)
                node = node.parent
        return len(found)

    def readers(self) -> list[Reader]:
        """The last token of every branch."""
        return [Reader(_JOB, branch, branch.computed, 1) for branch in self.branches]

    def draw(self) -> None:
        """The step is over: every branch draws a token."""
        for branch in self.branches:
            branch.computed += 1
            branch.tokens.append(1)
            assert self._tree.reserve(branch, len(branch.tokens))

    def go_on(self, branch: KVNode, times: int) -> list[KVNode]:
        """Freeze `branch`, and start others below it."""
        self._tree.unpin(branch)
        branch.tokens.pop()
        self._tree.freeze(branch)
        self._tree.hold(branch)
        return [self._fork(branch) for _ in range(times)]

    def end(self, branch: KVNode) -> None:
        """Throw `branch` away."""
        self._tree.unpin(branch)
        self._tree.discard(branch)

    def _computed(self, parent: KVNode, length: int) -> KVNode:
        node = self._tree.insert(parent, [self.random.randrange(50_000) for _ in range(length)])
        self._tree.pin(node)
        assert self._tree.reserve(node, length)
        node.computed = length
        return node

    def _fork(self, parent: KVNode) -> KVNode:
        branch = self._tree.fork(parent)
        self._tree.pin(branch)
        branch.tokens.append(1)
        assert self._tree.reserve(branch, 1)
        return branch


_JOB = Prefill(KVTree(1).root, Usage())


class Change(NamedTuple):
    """What happens between two steps.

    Attributes:
        name: In a few words.
        happen: Does it.
        before: Branches before it, in parts of those that a size says.
    """

    name: str
    happen: Callable[[GrowingTree], None]
    before: float = 1.0


def _nothing(tree: GrowingTree) -> None:
    """Every branch reads one token more."""


def _one(tree: GrowingTree) -> None:
    """One branch forks in two, another one ends."""
    forks, ends = tree.random.sample(tree.branches, 2)
    tree.branches = [branch for branch in tree.branches if branch not in (forks, ends)] + tree.go_on(forks, 2)
    tree.end(ends)


def _all_go_on(tree: GrowingTree) -> None:
    """Every branch ends an action and begins the next."""
    tree.branches = [born for branch in tree.branches for born in tree.go_on(branch, 1)]


def _half_fork_half_end(tree: GrowingTree) -> None:
    """Half of the branches fork in two, the others end: as many as before, and all of them new."""
    tree.random.shuffle(tree.branches)
    half = len(tree.branches) // 2
    forks, ends = tree.branches[:half], tree.branches[half:]
    tree.branches = [born for branch in forks for born in tree.go_on(branch, 2)]
    for branch in ends:
        tree.end(branch)


def _all_fork(tree: GrowingTree) -> None:
    """Every branch forks in two."""
    tree.branches = [born for branch in tree.branches for born in tree.go_on(branch, 2)]


NOTHING: Final = Change("nothing", _nothing)
HALF_FORK: Final = Change("half fork, half end", _half_fork_half_end)
ALL_FORK: Final = Change("all fork", _all_fork, before=0.5)

CHANGES: Final = (
    NOTHING,
    Change("one forks, one ends", _one),
    Change("all go on", _all_go_on),
    HALF_FORK,
    ALL_FORK,
    Change("all fork, to twice as many", _all_fork),
)
