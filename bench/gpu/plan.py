"""The engine's own plan for a paged tree."""

from __future__ import annotations

from typing import NamedTuple

import torch
from marcot.engine.plan.planner import ItemPlanner, Planner, Reader
from marcot.engine.plan.tile_planner import TilePlanner
from marcot.engine.scheduler.request import Prefill
from marcot.engine.usage import Usage
from marcot.kernels import Plan, Tiling
from marcot.model import PAGE_SIZE
from torch import Tensor

from ..common.cached_tree import cached_tree
from .trees import PagedTree


class EnginePlan(NamedTuple):
    """A plan for the queries of a tree.

    Attributes:
        plan: The plan, on the device, with the page numbers of the tree.
        leaves: `[rows]` int64: row `i` of the plan is the query of chain `leaves[i]` of `PagedTree.chains`.
    """

    plan: Plan
    leaves: Tensor


def engine_plan(tree: PagedTree, tiling: Tiling | None, group: int, head_dim: int, device: torch.device) -> EnginePlan:
    """Plan a step in which every leaf reads its path.

    Args:
        tree: The tree to read.
        tiling: See `Kernels.tiling`; None makes a plan of work items.
        group: Query heads per KV head.
        head_dim: Width of a head.
        device: Device for the plan.
    """
    nodes = cached_tree(tree.parents, tree.tokens)
    leaves = [nodes[chain[-1]] for chain in tree.chains]
    planner: Planner = ItemPlanner() if tiling is None else TilePlanner(tiling, group, head_dim)
    readers = [Reader(Prefill(leaf, Usage()), leaf, len(leaf.tokens) - 1, 1, writes=False) for leaf in leaves]
    ordered, plan = planner.plan(readers)
    rows = {id(leaf): row for row, leaf in enumerate(leaves)}
    order = torch.tensor([rows[id(reader.leaf)] for reader in ordered], device=device)
    pages = torch.empty(tree.pages, dtype=torch.int32)
    for number, node in enumerate(nodes):
        pages[node.pages] = torch.tensor(tree.pages_of(number), dtype=torch.int32)
    tiles = plan.tiles
    if tiles is not None:
        slots = pages[tiles.slots // PAGE_SIZE] * PAGE_SIZE + tiles.slots % PAGE_SIZE
        columns = (column.to(device) for column in (tiles.tails, tiles.tiles, slots, tiles.partials, tiles.merges))
        tiles = type(tiles)(tiles.rows, *columns)
    positions, items = plan.positions.to(device), plan.items.to(device)
    return EnginePlan(Plan(positions, items, pages[plan.pages].to(device), tiles), order)
