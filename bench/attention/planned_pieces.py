"""What our planner reads, in the terms of its rivals."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np
from marcot.engine.job import Prefill
from marcot.engine.planner import Reader
from marcot.engine.tile_cost import TileCost
from marcot.engine.tile_cutting import Runs
from marcot.engine.tile_planner import TilePlanner
from marcot.engine.usage import Usage
from marcot.kernels import Tile

from ..common.cached_tree import cached_tree
from .policies import Piece
from .workloads import AttentionTree


class Planned(NamedTuple):
    """A plan.

    Attributes:
        pieces: Its tiles; those of the same tokens are one piece.
        runs: Its tiles before they were cut by tokens. One of tails is a run of as many tokens as take as long.
    """

    pieces: list[Piece]
    runs: Runs


def planned(tree: AttentionTree, planner: TilePlanner) -> Planned:
    """The first plan of a new `planner`."""
    _, plan = planner.plan(readers_of(tree))
    assert plan.tiles is not None
    rows: dict[tuple[int, int], list[Tile]] = {}
    for tile in sorted(map(Tile._make, plan.tiles.tiles.tolist()), key=lambda tile: (tile.first, tile.first_row)):
        rows.setdefault((tile.first, tile.length), []).append(tile)
    pieces: list[Piece] = []
    runs: list[tuple[int, int, int, int, int]] = []
    for (first, length), tiles in rows.items():
        begin, end = tiles[0].first_row, tiles[-1].first_row + tiles[-1].rows
        if tiles[0].width:
            tails = plan.positions[begin:end] + 1 - plan.tiles.tails[begin:end]
            pieces.append(Piece(int(tails.sum()), range(begin, end), length))
            runs.append((first, tiles[0].position, _as_long(pieces[-1], planner.cost), begin, end - begin))
            continue
        pieces.append(Piece(length, range(begin, end)))
        run = (first, tiles[0].position, length, begin, end - begin)
        goes_on = bool(runs) and runs[-1][3:] == run[3:] and runs[-1][0] + runs[-1][2] == first
        if goes_on and runs[-1][1] + runs[-1][2] == run[1]:
            run = (*runs[-1][:2], runs.pop()[2] + length, *run[3:])
        runs.append(run)
    return Planned(pieces, Runs(*np.array(runs, np.int64).T))


def _as_long(piece: Piece, cost: TileCost) -> int:
    """Tokens of a run of which one tile takes as long as that of `piece`."""
    return ceil(max(piece.tokens * cost.token, piece.places * cost.product) / max(cost.token, cost.product))


def readers_of(tree: AttentionTree) -> list[Reader]:
    """Rows that read the last token of their nodes, in a cache that holds the tree."""
    nodes = cached_tree(tree.parents, tree.tokens)
    return [
        Reader(Prefill(nodes[end], Usage()), nodes[end], tree.tokens[end] - 1, 1, writes=False) for end in tree.ends
    ]
