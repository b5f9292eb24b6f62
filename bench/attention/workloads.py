"""Trees whose attention is counted: recorded searches, and shapes after the DeFT and FastTree papers.

The shapes are ours to the extent that papers and their code state them: widths, depths and lengths are theirs, no text
is. DeFT (arXiv 2404.00242): few-shot prompting with a prompt of 4,000 tokens and 400 drawn per branch; tree-of-thoughts
tasks in which one of ten thoughts is kept per level; speculative decoding with token trees of Medusa's kind. FastTree
(MLSys 2025): the layers of its kernel benchmark, nodes and tokens per node.
"""

from __future__ import annotations

import heapq
from typing import Final, NamedTuple

from ..common.recorded_trees import recorded_trees


class AttentionTree(NamedTuple):
    """What one decode step reads.

    Attributes:
        name: What it is.
        source: Where its shape comes from.
        parents: Of each node, the index of its parent, which is smaller; None for roots.
        tokens: Tokens of each node; at least one.
        rows: Query rows that end in each node, 0 or 1.
    """

    name: str
    source: str
    parents: list[int | None]
    tokens: list[int]
    rows: list[int]

    @property
    def apart(self) -> AttentionTree:
        """The same paths with nothing shared."""
        tokens = [sum(self.tokens[node] for node in self.path(end)) for end in self.ends]
        return AttentionTree(f"{self.name}, apart", self.source, [None] * len(tokens), tokens, [1] * len(tokens))

    @property
    def ends(self) -> list[int]:
        """Nodes in which rows end."""
        return [node for node, rows in enumerate(self.rows) if rows]

    def path(self, node: int) -> list[int]:
        """The nodes from a root to `node`."""
        chain = [node]
        while (parent := self.parents[chain[-1]]) is not None:
            chain.append(parent)
        return chain[::-1]


def workloads() -> list[AttentionTree]:
    """All of them, recorded ones first."""
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
"""Nodes of each layer, and tokens of each of its nodes."""

_PROMPT = 1000
"""Tokens of the prompts that speculative decoding goes on from."""

_RANKS, _DEPTH = 10, 5
"""Candidates per position and longest guess of a token tree."""


def _layers(name: str, source: str, nodes: tuple[int, ...], tokens: tuple[int, ...]) -> AttentionTree:
    """A tree of layers; the nodes of a layer are shared out evenly among those of the layer above."""
    parents: list[int | None] = [None] * nodes[0]
    lengths = [tokens[0]] * nodes[0]
    for above, count, length in zip(nodes, nodes[1:], tokens[1:], strict=False):
        first = len(parents) - above
        parents += [first + i * above // count for i in range(count)]
        lengths += [length] * count
    return AttentionTree(name, source, parents, lengths, _leaf_rows(parents))


def _token_tree(size: int) -> AttentionTree:
    """The `size` most probable guesses of up to `_DEPTH` tokens, each verified by a row of its own.

    The `r`-th candidate of a position is right with probability 0.6 / r ** 1.5, less by a fifth with every position.
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
