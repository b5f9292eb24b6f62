"""Search trees that marcot has recorded: what a search's branches really share.

`data/search_trees.json` has the shapes only, without a word of text; `record_trees.py` made it.
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
        question: Line of the question in its data set, from 1.
        width: Children that the search sampled from a node before it chose among them.
        examples: Solved problems in the prompt.
        parents: Of each node, the index of its parent; None for the root, which is the prompt.
        tokens: Of each node, how many tokens it adds.
    """

    question: int
    width: int
    examples: int
    parents: list[int | None]
    tokens: list[int]

    @property
    def depth(self) -> int:
        """Nodes between the root and the deepest leaf, leaf included."""
        return max(len(self._chain(leaf)) for leaf in self.leaves) - 1

    @property
    def leaves(self) -> list[int]:
        """Nodes without children."""
        inner = set(self.parents)
        return [node for node in range(len(self.parents)) if node not in inner]

    @property
    def sharing(self) -> float:
        """Tokens of all paths from the root to a leaf, over the tokens of the tree."""
        return sum(self.tokens[node] for leaf in self.leaves for node in self._chain(leaf)) / sum(self.tokens)

    def paths(self, *, apart: bool = False) -> list[list[int]]:
        """Token ids from the root to each leaf.

        Args:
            apart: Give every path a first token of its own, so that nothing is shared.
        """
        segments = [random_ids(count, node) for node, count in enumerate(self.tokens)]
        paths = [[id for node in self._chain(leaf) for id in segments[node]] for leaf in self.leaves]
        return [[leaf, *path[1:]] if apart else path for leaf, path in zip(self.leaves, paths, strict=True)]

    def _chain(self, node: int) -> list[int]:
        """The nodes from the root to `node`."""
        chain = [node]
        while (parent := self.parents[chain[-1]]) is not None:
            chain.append(parent)
        return chain[::-1]


def recorded_trees() -> list[RecordedTree]:
    """Read the trees, the one that shares least first."""
    trees = [RecordedTree(**tree) for tree in json.loads(RECORD.read_text())["trees"]]
    return sorted(trees, key=lambda tree: tree.sharing)
