"""Plans the attention of a round in tiles."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...kernels import Plan, Tiling, WorkItem
from ...kernels.plan.tiler import Tiler
from .planner import Reader
from .read_tree import read_tree

_NO_ITEMS = torch.empty(0, len(WorkItem._fields), dtype=torch.int32)
_NO_PAGES = torch.empty(0, dtype=torch.int32)


class TilePlanner:
    """Makes plans of tiles, each from scratch. See `Tiler`."""

    def __init__(self, tiling: Tiling, group: int, head_dim: int, *, deterministic: bool = False) -> None:
        """Make a planner for a device and a model; the arguments are those of `Tiler`."""
        self._tiler = Tiler(tiling, group, head_dim, deterministic=deterministic)

    @property
    def deterministic(self) -> bool:
        """Whether the tiles of a row do not depend on other rows."""
        return self._tiler.deterministic

    def plan(self, readers: Sequence[Reader], room: int = 1) -> tuple[list[Reader], Plan]:
        """See `Planner.plan`."""
        ordered, tree = read_tree(readers, room)
        return ordered, Plan(torch.from_numpy(tree.positions), _NO_ITEMS, _NO_PAGES, self._tiler.cut(tree))
