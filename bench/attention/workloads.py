"""The trees of `make bench-bytes`: recorded searches, and shapes from the DeFT and FastTree papers.

Widths, depths and lengths are those that the papers and their code state; no text is copied from them.

DeFT (arXiv 2404.00242): few-shot prompting with a prompt of 4,000 tokens and 400 drawn per branch; tree-of-thoughts
tasks that keep one of ten thoughts per level; speculative decoding with token trees like those of Medusa. FastTree
(MLSys 2025): the layers of its kernel benchmark, with nodes per layer and tokens per node.
"""

from __future__ import annotations

import heapq
from typing import Final, NamedTuple

from ..common.recorded_trees import recorded_trees


class AttentionTree(NamedTuple):
    """The tree that one decode step reads.

    Attributes:
        name: Name in the table.
        source: Where its shape comes from.
        parents: Index of the parent of each node, smaller than its own; None for roots.
        tokens: Number of tokens of each node, at least one.
        rows: Number of query rows that end in each node, 0 or 1.
    """

    name: str
    source: str
    parents: list[int | None]
    tokens: list[int]
    rows: list[int]

    @property
    def apart(self) -> AttentionTree:
        """A tree with the same paths, but nothing shared."""
        tokens = [sum(self.tokens[node] for node in self.path(end)) for end in self.ends]
        return AttentionTree(f"{self.name}, apart", self.source, [None] * len(tokens), tokens, [1] * len(tokens))

    @property
    def ends(self) -> list[int]:
        """The nodes in which rows end."""
        return [node for node, rows in enumerate(self.rows) if rows]

    def path(self, node: int) -> list[int]:
        """Return the nodes from the root to `node`."""
        chain = [node]
        while (parent := self.parents[chain[-1]]) is not None:
            chain.append(parent)
        return chain[::-1]


def workloads() -> list[AttentionTree]:
    """Return all trees, recorded ones first."""
    recorded = [
        AttentionTree(f"search {number}", "recorded", tree.parents, tree.tokens, _leaf_rows(tree.parents))
        for number, tree in enumerate(recorded_trees(), start=1)
    ]
    apart = [tree.apart for tree in recorded]
    few_shot = [_layers(f"few-shot, {width} branches", "DeFT", (1, width), (4000, 200)) for width in (20, 30, 50)]
    thoughts = [
        _layers("sorting, thoughts of level 6", "DeFT", (1, 10), (1104 + 5 * 350, 175)),
        _layers("sorting, prompt of 4000", "DeFT", (1, 10), (4000 + 5 * 350, 175)),
        _layers("document merging, level 3", "DeFT", (1, 10), (1073 + 2 * 880, 440)),
        _layers("document merging, prompt of 4000", "DeFT", (1, 10), (4000 + 2 * 880, 440)),
    ]
    speculative = [_token_tree(size) for size in (32, 64, 128, 256)]
    layered = [_layers(_name(nodes, tokens), "FastTree", nodes, tokens) for nodes, tokens in _FAST_TREE]
    return [*recorded, *apart, *few_shot, *thoughts, *speculative, *layered]


_FAST_TREE: Final = (
    ((1, 2, 64), (8, 256, 32)),
    ((1, 4, 256), (8, 256, 32)),
    ((1, 4, 8, 256), (8, 256, 256, 32)),
    ((1, 256), (256, 32)),
    ((1, 1024), (2048, 32)),
    ((1, 16, 64), (1024, 256, 32)),
    ((1, 4, 16, 512), (1024, 256, 128, 32)),
    ((1, 4, 16, 64, 256, 1024), (256, 8, 256, 64, 32, 256)),
    ((1, 10), (4000, 400)),
    ((1, 2, 4, 8, 16, 32, 64, 128, 1024), (16,) * 9),
    ((1, 2, 4, 8, 16, 32, 64, 128, 1024), (256, 128, 64, 16, 16, 16, 16, 16, 16)),
    ((1, 8, 16, 32, 64, 128, 1024), (256, 128, 64, 16, 16, 16, 16)),
    ((1, 8, 16, 32, 64, 256, 1024), (256, 128, 64, 16, 16, 16, 16)),
    ((1, 16, 32, 64, 128, 1024), (256, 128, 64, 16, 16, 16)),
    ((1, 16, 32, 64, 256, 1024), (256, 128, 64, 16, 16, 16)),
)
"""Shapes of FastTree's kernel benchmark: the number of nodes of each layer, and the tokens of each of its nodes."""

_PROMPT = 1000
"""Tokens of the prompt in speculative decoding."""

_RANKS, _DEPTH = 10, 5
"""Candidates per position, and maximum length of a guess, in a token tree."""


def _layers(name: str, source: str, nodes: tuple[int, ...], tokens: tuple[int, ...]) -> AttentionTree:
    """Return a tree of layers; the nodes of a layer are distributed evenly among the nodes of the layer above."""
    parents: list[int | None] = [None] * nodes[0]
    lengths = [tokens[0]] * nodes[0]
    for above, count, length in zip(nodes, nodes[1:], tokens[1:], strict=False):
        first = len(parents) - above
        parents += [first + i * above // count for i in range(count)]
        lengths += [length] * count
    return AttentionTree(name, source, parents, lengths, _leaf_rows(parents))


def _token_tree(size: int) -> AttentionTree:
    """Return a tree of the `size` most probable guesses of up to `_DEPTH` tokens, each verified by a separate row.

    The `r`-th candidate of a position is right with probability 0.6 / r ** 1.5, times 0.8 for each position before it.
    """
    parents: list[int | None] = [None]
    waiting = [(-0.6, 0, 1, 1)]
    while len(parents) <= size:
        chance, parent, rank, depth = heapq.heappop(waiting)
        node = len(parents)
        parents.append(parent)
        if rank < _RANKS:
            heapq.heappush(waiting, (chance * (rank / (rank + 1)) ** 1.5, parent, rank + 1, depth))
        if depth < _DEPTH:
            heapq.heappush(waiting, (chance * 0.6 * 0.8**depth, node, 1, depth + 1))
    tokens = [_PROMPT] + [1] * size
    return AttentionTree(f"token tree of {size}", "DeFT", parents, tokens, [0] + [1] * size)


def _leaf_rows(parents: list[int | None]) -> list[int]:
    inner = set(parents)
    return [int(node not in inner) for node in range(len(parents))]


def _name(nodes: tuple[int, ...], tokens: tuple[int, ...]) -> str:
    return f"{'-'.join(map(str, nodes))} of {'-'.join(map(str, tokens))}"
