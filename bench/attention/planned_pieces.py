"""Converts plans of our planner to pieces, the form in which rivals' plans are described."""

from __future__ import annotations

from marcot.engine.plan.planner import Reader
from marcot.engine.plan.tile_planner import TilePlanner
from marcot.engine.scheduler.request import Prefill
from marcot.engine.usage import Usage
from marcot.kernels import Tile

from ..common.cached_tree import cached_tree
from .policies import Piece
from .workloads import AttentionTree


def planned(tree: AttentionTree, planner: TilePlanner) -> tuple[int, list[Piece]]:
    """Plan `tree`; return the rows per tile, and the tiles as pieces. Tiles of the same tokens form one piece."""
    _, plan = planner.plan(readers_of(tree))
    assert plan.tiles is not None
    rows: dict[tuple[int, int], list[Tile]] = {}
    for tile in sorted(map(Tile._make, plan.tiles.tiles.tolist()), key=lambda tile: tile.first_row):
        rows.setdefault((tile.first, tile.length), []).append(tile)
    pieces: list[Piece] = []
    for (_, length), tiles in rows.items():
        begin, end = tiles[0].first_row, tiles[-1].first_row + tiles[-1].rows
        if tiles[0].width:
            tails = plan.positions[begin:end] + 1 - plan.tiles.tails[begin:end]
            pieces.append(Piece(int(tails.sum()), range(begin, end), length))
        else:
            pieces.append(Piece(length, range(begin, end)))
    return plan.tiles.rows, pieces


def readers_of(tree: AttentionTree) -> list[Reader]:
    """Return a reader of the last token of each node in which a row ends, in a KV tree that holds `tree`."""
    nodes = cached_tree(tree.parents, tree.tokens)
    return [
        Reader(Prefill(nodes[end], Usage()), nodes[end], tree.tokens[end] - 1, 1, writes=False) for end in tree.ends
    ]
