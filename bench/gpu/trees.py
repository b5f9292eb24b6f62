"""KV trees whose nodes fill whole pages, so that every implementation can read the same trees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from marcot.model import PAGE_SIZE

from ..common.recorded_trees import RecordedTree, recorded_trees

PREFIX_TOKENS, OWN_TOKENS = 512, 64
"""Tokens of a fan: in the prefix that all branches share, and in each branch."""


class PagedTree(NamedTuple):
    """A tree whose nodes fill whole consecutive pages; each leaf is a branch with one query.

    Attributes:
        name: Name in tables.
        parents: Index of each node's parent, which comes before the node; None for the root, which is first.
        tokens: Number of tokens of each node, a multiple of `PAGE_SIZE`.
    """

    name: str
    parents: list[int | None]
    tokens: list[int]

    @property
    def chains(self) -> list[list[int]]:
        """The nodes from the root to each leaf; leaves are in depth-first order, as query rows are."""
        children: dict[int | None, list[int]] = {}
        for node, parent in enumerate(self.parents):
            children.setdefault(parent, []).append(node)
        chains, pending = [], [[node] for node in reversed(children[None])]
        while pending:
            chain = pending.pop()
            below = children.get(chain[-1], [])
            if not below:
                chains.append(chain)
            pending.extend([*chain, node] for node in reversed(below))
        return chains

    @property
    def pages(self) -> int:
        """Number of pages of all nodes."""
        return sum(self.tokens) // PAGE_SIZE

    @property
    def seen(self) -> int:
        """Sum of the tokens on all paths: the number of pairs of a query and a token that it attends to."""
        return sum(self.tokens[node] for chain in self.chains for node in chain)

    def pages_of(self, node: int) -> list[int]:
        """The page numbers of a node."""
        first = sum(self.tokens[:node]) // PAGE_SIZE
        return list(range(first, first + self.tokens[node] // PAGE_SIZE))


LAYERED = (
    ((1, 4, 8, 256), (16, 256, 256, 32)),
    ((1, 16, 64), (1024, 256, 32)),
    ((1, 1024), (2048, 32)),
    ((1, 10), (4000, 400)),
    ((1, 4, 16, 512), (1024, 256, 128, 32)),
    ((1, 2, 4, 8, 16, 32, 64, 128, 1024), (16,) * 9),
    ((1, 32), (512, 1024)),
    ((1, 8, 64), (1024, 512, 512)),
)
"""Layered trees: number of nodes per layer, and tokens per node of each layer. After FastTree's kernel benchmark, plus
two trees of few branches with long private suffixes."""


def measured_trees() -> list[PagedTree]:
    """The trees that attention is timed on: fans, recorded searches, and layered trees."""
    return [*map(fan, (8, 64, 256)), *recorded(), *(layered(nodes, tokens) for nodes, tokens in LAYERED)]


def layered(nodes: Sequence[int], tokens: Sequence[int]) -> PagedTree:
    """A layered tree, with the nodes of each layer distributed evenly among the nodes of the layer above."""
    parents: list[int | None] = [None] * nodes[0]
    lengths = [tokens[0]] * nodes[0]
    for above, count, length in zip(nodes, nodes[1:], tokens[1:], strict=False):
        first = len(parents) - above
        parents += [first + i * above // count for i in range(count)]
        lengths += [length] * count
    return PagedTree(f"{'-'.join(map(str, nodes))} of {'-'.join(map(str, tokens))}", parents, lengths)


def fan(branches: int) -> PagedTree:
    """A tree of `branches` branches that share one prefix."""
    name = f"{branches} branches, {PREFIX_TOKENS} + {OWN_TOKENS} tokens"
    return PagedTree(name, [None, *[0] * branches], [PREFIX_TOKENS, *[OWN_TOKENS] * branches])


def recorded() -> list[PagedTree]:
    """The recorded search trees, with every node rounded up to whole pages."""
    found: list[PagedTree] = []
    for tree in recorded_trees():
        alike = sum(len(other.chains) == len(tree.leaves) for other in found)
        found.append(_paged(tree, f", number {1 + alike}" if alike else ""))
    return found


def _paged(tree: RecordedTree, which: str) -> PagedTree:
    rounded = [-(-tokens // PAGE_SIZE) * PAGE_SIZE for tokens in tree.tokens]
    return PagedTree(f"search tree of {len(tree.leaves)} leaves{which}", tree.parents, rounded)
