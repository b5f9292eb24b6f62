"""Trees of KV in whole pages, so that every program can read the same ones."""

from __future__ import annotations

from typing import NamedTuple

from marcot.model import PAGE_SIZE

from ..common.recorded_trees import RecordedTree, recorded_trees

PREFIX_TOKENS, OWN_TOKENS = 512, 64
"""Of a fan: what all branches share, and what each has of its own."""


class PagedTree(NamedTuple):
    """A tree whose nodes fill whole pages, one after the other; each leaf is a branch with one query.

    Attributes:
        name: For the table.
        parents: Of each node, the index of its parent, which comes before it; None for the root, which is the first.
        tokens: Of each node, multiples of `PAGE_SIZE`.
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
        """Of all nodes."""
        return sum(self.tokens) // PAGE_SIZE

    @property
    def seen(self) -> int:
        """Tokens on all paths: pairs of a query and a token that it attends to."""
        return sum(self.tokens[node] for chain in self.chains for node in chain)

    def pages_of(self, node: int) -> list[int]:
        """Where a node lies."""
        first = sum(self.tokens[:node]) // PAGE_SIZE
        return list(range(first, first + self.tokens[node] // PAGE_SIZE))


def fan(branches: int) -> PagedTree:
    """Branches behind one prefix."""
    name = f"{branches} branches, {PREFIX_TOKENS} + {OWN_TOKENS} tokens"
    return PagedTree(name, [None, *[0] * branches], [PREFIX_TOKENS, *[OWN_TOKENS] * branches])


def recorded() -> list[PagedTree]:
    """The recorded search trees, every node rounded up to whole pages."""
    return [_paged(tree) for tree in recorded_trees()]


def _paged(tree: RecordedTree) -> PagedTree:
    rounded = [-(-tokens // PAGE_SIZE) * PAGE_SIZE for tokens in tree.tokens]
    return PagedTree(f"search tree of {len(tree.leaves)} leaves", tree.parents, rounded)
