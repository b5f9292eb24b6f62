"""Policies for reading K and V of a tree: which rows read which tokens together, and in what pieces.

Rivals are implemented from their papers; the rule of FastTree also uses the constants of its published kernel
benchmark. If the authors of a policy give no rule for cutting runs into pieces, it gets the length that is best for it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from marcot.kernels.plan.tile_cost import BLOCK_TOKENS, TileCost

from .workloads import AttentionTree

DEFT_PIECE = 128
"""Tokens per piece of DeFT-flatten."""

FASTTREE_PRICES = (0.66, 0.33, 0.1)
"""FastTree's prices: of a padded query row per token, a padded token per row, and a partial result of a row."""

FASTTREE_ROWS, FASTTREE_TOKENS = (64, 16), 32
"""(Row, head) pairs of FastTree's two kinds of tiles, and tokens per block."""

BLOCKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Maximum lengths of pieces to try, in blocks of tokens."""

FASTTREE_PIECES, FASTTREE_ENOUGH = (1024, 128), (132, 528)
"""Tokens per piece, long and short; and the number of tiles of each kind from which on long pieces are used."""


class Piece(NamedTuple):
    """A run of tokens that several rows read together, with one tile per block of rows.

    Attributes:
        tokens: Number of tokens.
        rows: The rows.
        places: Token places that are computed for all rows, if more than `tokens`: a tile of tails has empty ones.
    """

    tokens: int
    rows: Sequence[int]
    places: int = 0


class Device(NamedTuple):
    """The properties of the device and the model that policies depend on.

    Attributes:
        cost: The prices, and the rows per tile.
        group: Query heads per KV head.
        kv_heads: KV heads.
    """

    cost: TileCost
    group: int
    kv_heads: int


Policy = Callable[[AttentionTree, Device], list[list[Piece]]]
"""A policy returns all candidate ways to read a tree, each a list of pieces; the fastest one counts."""


class _Order(NamedTuple):
    """Nodes in depth-first order, and for each node the first row at or below it and the number of such rows."""

    nodes: list[int]
    first_row: list[int]
    rows: list[int]


def per_branch(tree: AttentionTree, device: Device) -> list[list[Piece]]:
    """Paged attention without sharing: every row reads its whole path."""
    return _cut([(_tokens(tree, tree.path(end)), (row, row + 1)) for row, end in enumerate(_ends(tree))])


def one_level(tree: AttentionTree, device: Device) -> list[list[Piece]]:
    """Read the prefix common to all rows once, the rest per row: Hydragen (arXiv 2402.05099), FlashInfer's cascade."""
    paths = [tree.path(end) for end in _ends(tree)]
    common = 0
    while all(len(path) > common and path[common] == paths[0][common] for path in paths):
        common += 1
    runs = [(_tokens(tree, paths[0][:common]), (0, len(paths)))]
    runs += [(_tokens(tree, path[common:]), (row, row + 1)) for row, path in enumerate(paths)]
    return _cut([run for run in runs if run[0]])


def deft_flatten(tree: AttentionTree, device: Device) -> list[list[Piece]]:
    """Cut all tokens, in depth-first order, into pieces of equal length; masks select the tokens of each row."""
    return [flattened(tree, DEFT_PIECE)]


def flattened(tree: AttentionTree, piece: int) -> list[Piece]:
    """DeFT-flatten with pieces of any length."""
    order = _order(tree)
    ends = np.cumsum([tree.tokens[node] for node in order.nodes])
    pieces = []
    for begin in range(0, int(ends[-1]), piece):
        end = min(begin + piece, int(ends[-1]))
        inside = range(int(np.searchsorted(ends, begin, "right")), int(np.searchsorted(ends, end, "left")) + 1)
        nodes = [order.nodes[i] for i in inside]
        first = min(order.first_row[node] for node in nodes)
        last = max(order.first_row[node] + order.rows[node] for node in nodes)
        pieces.append(Piece(end - begin, range(first, last)))
    return pieces


def fast_tree(tree: AttentionTree, device: Device) -> list[list[Piece]]:
    """FastTree: from the root down, a child reads its parent's tokens with its own if this is cheaper in total."""
    order = _order(tree)
    row_price, token_price, partial_price = FASTTREE_PRICES
    blocks = [max(1, pairs // device.group) for pairs in FASTTREE_ROWS]

    def padding(rows: int, tokens: int) -> float:
        idle_rows = -rows % (blocks[0] if rows > blocks[1] else blocks[1])
        idle_tokens = max(0, FASTTREE_TOKENS - tokens)
        return device.group * (row_price * idle_rows * tokens + token_price * idle_tokens * rows)

    tokens, reading = list(tree.tokens), list(order.rows)
    takes_along = [False] * len(tokens)
    children: list[list[int]] = [[] for _ in tokens]
    for node, parent in enumerate(tree.parents):
        if parent is not None:
            children[parent].append(node)
    pending = deque(node for node, parent in enumerate(tree.parents) if parent is None)
    while pending:
        node = pending.popleft()
        for child in children[node]:
            rows, own = order.rows[child], tokens[child]
            shared = padding(reading[node], tokens[node]) + padding(rows, own) + partial_price * rows
            apart = padding(reading[node] - rows, tokens[node]) + padding(rows, own + tokens[node])
            if shared > apart:
                takes_along[child] = True
                reading[node] -= rows
                tokens[child] += tokens[node]
            pending.append(child)

    readers: defaultdict[int, list[int]] = defaultdict(list)
    for row, end in enumerate(_ends(tree)):
        at: int | None = end
        while at is not None:
            readers[at].append(row)
            while at is not None and takes_along[at]:
                at = tree.parents[at]
            at = None if at is None else tree.parents[at]
    kinds: tuple[list[Piece], list[Piece]] = ([], [])
    for node, rows_of_node in readers.items():
        kinds[len(rows_of_node) <= blocks[1]].append(Piece(tokens[node], rows_of_node))
    pieces = [
        Piece(min(length, run.tokens - begin), run.rows)
        for runs, block, enough in zip(kinds, blocks, FASTTREE_ENOUGH, strict=True)
        for length in (_fast_tree_piece(runs, block, enough, device.kv_heads),)
        for run in runs
        for begin in range(0, run.tokens, length)
    ]
    return [pieces]


def _fast_tree_piece(runs: Sequence[Piece], block: int, enough: int, kv_heads: int) -> int:
    """Return the tokens per piece for `runs`: long if long pieces give enough tiles, else short."""
    long, short = FASTTREE_PIECES
    tiles = sum(-(-run.tokens // long) * -(-len(run.rows) // block) for run in runs)
    return long if tiles * kv_heads >= enough else short


def _cut(runs: Sequence[tuple[int, tuple[int, int]]]) -> list[list[Piece]]:
    """Cut runs, each a number of tokens and a range of rows, into pieces; one result per maximum length in `BLOCKS`."""
    return [
        [
            Piece(min(longest, tokens - begin), range(*rows))
            for tokens, rows in runs
            for begin in range(0, tokens, longest)
        ]
        for longest in (blocks * BLOCK_TOKENS for blocks in BLOCKS)
    ]


def _tokens(tree: AttentionTree, nodes: Sequence[int]) -> int:
    return sum(tree.tokens[node] for node in nodes)


def _order(tree: AttentionTree) -> _Order:
    children: list[list[int]] = [[] for _ in tree.tokens]
    pending: list[int] = []
    for node, parent in enumerate(tree.parents):
        (pending if parent is None else children[parent]).append(node)
    pending.reverse()
    nodes: list[int] = []
    while pending:
        node = pending.pop()
        nodes.append(node)
        pending += reversed(children[node])
    first_row, rows = [0] * len(nodes), list(tree.rows)
    row = 0
    for node in nodes:
        first_row[node] = row
        row += tree.rows[node]
    for node in reversed(range(len(nodes))):
        parent = tree.parents[node]
        if parent is not None:
            rows[parent] += rows[node]
    return _Order(nodes, first_row, rows)


def _ends(tree: AttentionTree) -> list[int]:
    """Return the nodes in which rows end, in depth-first order."""
    return [node for node in _order(tree).nodes if tree.rows[node]]
