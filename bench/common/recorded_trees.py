"""The shapes of search trees recorded from real searches, which show how much their branches share.

`data/search_trees.json`, made by `record_trees.py`, has only the shapes, no text.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from .. import ROOT
from .prompt import random_ids

RECORD = ROOT / "bench" / "data" / "search_trees.json"


class RecordedTree(NamedTuple):
    """The shape of a search tree.

    Attributes:
        question: Line of the question in its data set, counted from 1.
        width: Number of children that the search sampled per node.
        examples: Number of solved problems in the prompt.
        parents: Index of the parent of each node; None for the root, which is the prompt.
        tokens: Number of tokens that each node adds.
    """

    question: int
    width: int
    examples: int
    parents: list[int | None]
    tokens: list[int]

    @property
    def depth(self) -> int:
        """Number of nodes from the root to the deepest leaf, counting the leaf but not the root."""
        return max(len(self._chain(leaf)) for leaf in self.leaves) - 1

    @property
    def leaves(self) -> list[int]:
        """Nodes without children."""
        inner = set(self.parents)
        return [node for node in range(len(self.parents)) if node not in inner]

    @property
    def sharing(self) -> float:
        """Tokens of all paths from the root to a leaf, added up, divided by the tokens of the tree."""
        return sum(self.tokens[node] for leaf in self.leaves for node in self._chain(leaf)) / sum(self.tokens)

    def paths(self, *, apart: bool = False) -> list[list[int]]:
        """Return the token ids from the root to each leaf.

        Args:
            apart: Give every path a different first token, so that paths share nothing.
        """
        segments = [random_ids(count, node) for node, count in enumerate(self.tokens)]
        paths = [[id for node in self._chain(leaf) for id in segments[node]] for leaf in self.leaves]
        return [[leaf, *path[1:]] if apart else path for leaf, path in zip(self.leaves, paths, strict=True)]

    def _chain(self, node: int) -> list[int]:
        """Return the nodes from the root to `node`."""
        chain = [node]
        while (parent := self.parents[chain[-1]]) is not None:
            chain.append(parent)
        return chain[::-1]


def recorded_trees() -> list[RecordedTree]:
    """Read the trees, sorted by sharing, least first."""
    trees = [RecordedTree(**tree) for tree in json.loads(RECORD.read_text())["trees"]]
    return sorted(trees, key=lambda tree: tree.sharing)
