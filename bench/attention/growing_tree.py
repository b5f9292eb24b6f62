"""A random KV tree with many branches, as the planner sees it."""

from __future__ import annotations

from random import Random
from typing import Final

from marcot.engine.kv.node import KVNode
from marcot.engine.kv.tree import KVTree
from marcot.engine.plan.planner import Reader
from marcot.engine.sampling.sampling import Sampling
from marcot.engine.scheduler.branch import Branch
from marcot.engine.usage import Usage

_PROMPT, _PIECE = 500, 32
"""Tokens of the prompt, and of every other node, which is a mini-step."""

_PAGES_PER_NODE = 4
"""Pages per node: enough for a piece, a branch behind it and, over all nodes, the prompt."""

_ROOM = 16
"""Tokens of a round, for which branches reserve pages."""

_FORKS: Final = 0.4
"""Probability that a leaf gets two children instead of one."""


class GrowingTree:
    """A tree whose branches have all drawn some tokens.

    Attributes:
        branches: The growing nodes of the branches.
        random: Random generator of the tree.
    """

    def __init__(self, nodes: int, branches: int, random: Random) -> None:
        """Grow a random tree with `branches` branches at its leaves and about `nodes` nodes on their paths."""
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

    def _on_paths(self) -> set[KVNode]:
        found: set[KVNode] = set()
        for branch in self.branches:
            node: KVNode | None = branch
            while node is not None and node not in found:
                found.add(node)
                node = node.parent
        return found

    @property
    def nodes(self) -> int:
        """Number of nodes on the paths of all branches."""
        return len(self._on_paths())

    @property
    def tokens(self) -> int:
        """Number of tokens of these nodes."""
        return sum(len(node.tokens) for node in self._on_paths())

    def readers(self) -> list[Reader]:
        """Return readers for the last token of every branch."""
        return [Reader(self._branch(branch), branch, branch.computed, 1) for branch in self.branches]

    def _branch(self, node: KVNode) -> Branch:
        assert node.parent is not None
        return Branch(node.parent, node, Sampling(), 0, Usage(), _PIECE, frozenset(), None, {})

    def _computed(self, parent: KVNode, length: int) -> KVNode:
        node = self._tree.insert(parent, [self.random.randrange(50_000) for _ in range(length)])
        self._tree.pin(node)
        assert self._tree.reserve(node, length)
        node.count_computed(length)
        return node

    def _fork(self, parent: KVNode) -> KVNode:
        branch = self._tree.fork(parent)
        self._tree.pin(branch)
        branch.extend([1] * self.random.randint(1, _PIECE))
        branch.count_computed(len(branch.tokens) - 1)
        assert self._tree.reserve(branch, len(branch.tokens) + _ROOM)
        return branch
