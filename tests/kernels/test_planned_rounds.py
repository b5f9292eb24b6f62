"""The engine's plans on every kernel set, from the first token of a round to the last, against dense attention.

One plan serves the whole round: rows see one more token with every step, and the slots beyond are NaN until then.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from marcot.engine.plan.planner import ItemPlanner, Planner, Reader
from marcot.engine.plan.tile_planner import TilePlanner
from marcot.kernels import Kernels, Tiling
from support.kernels.attention_cases import PAGE_SIZE, dense, near
from support.kernels.kernel_sets import tokens_of_keys
from support.searches.reading_history import ReadingHistory
from torch import Tensor

ROOM, GROUP, KV_HEADS, HEAD_DIM = 4, 3, 2, 16


class Caches:
    """K and V of every slot, and a cache that is NaN where nothing has been written yet."""

    def __init__(self, ops: Kernels, pages: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        shape = (pages, KV_HEADS, PAGE_SIZE, HEAD_DIM)
        self.k, self.v = torch.randn(2, pages * PAGE_SIZE, KV_HEADS, HEAD_DIM, generator=random)
        self.k_pages, self.v_pages = torch.full((2, *shape), torch.nan)
        self._keys = tokens_of_keys(ops, self.k_pages)

    def write(self, slots: Sequence[int]) -> None:
        """Write K and V of `slots` to the cache."""
        at = torch.tensor(slots)
        self._keys[at // PAGE_SIZE, :, at % PAGE_SIZE] = self.k[at]
        self.v_pages[at // PAGE_SIZE, :, at % PAGE_SIZE] = self.v[at]

    def expected(self, q: Tensor, slots: Sequence[int]) -> Tensor:
        """Attention of one row over `slots`."""
        return dense(q, self.k[list(slots)], self.v[list(slots)])


def path_slots(reader: Reader, more: int) -> list[int]:
    """The slots of a path down to the last row of `reader`, and of `more` tokens after it."""
    slots = []
    for node in reader.leaf.path():
        count = reader.first + reader.rows + more if node is reader.leaf else len(node.tokens)
        slots += node.slots(0, count)
    return slots


def check_round(ops: Kernels, planner: Planner, history: ReadingHistory, seed: int) -> int:
    """Plan one round of `history` and follow it to its end; return how many rows went on."""
    given = history.readers(ROOM)
    if not given:
        return 0
    readers, plan = planner.plan(given, ROOM)
    caches = Caches(ops, history.tree.pool.capacity, seed)
    rows = [(reader, number) for reader in readers for number in range(reader.rows)]
    for reader in readers:
        caches.write(path_slots(reader, 0))
    q = torch.randn(len(rows), KV_HEADS * GROUP, HEAD_DIM, generator=torch.Generator().manual_seed(seed))
    positions = plan.positions.clone()
    for step in range(ROOM):
        out = ops.tree_attention(q, caches.k_pages, caches.v_pages, plan._replace(positions=positions), 0.3)
        seen = [path_slots(reader, min(step, reader.room(ROOM))) for reader, _ in rows]
        ends = [len(slots) - (reader.rows - 1 - number) for slots, (reader, number) in zip(seen, rows, strict=True)]
        paths = [slots[:end] for slots, end in zip(seen, ends, strict=True)]
        near(out, torch.stack([caches.expected(row, slots) for row, slots in zip(q, paths, strict=True)]))
        for row, (reader, _) in enumerate(rows):
            if step < reader.room(ROOM):
                caches.write(path_slots(reader, step + 1)[-1:])
                positions[row] += 1
    return sum(reader.room(ROOM) > 0 for reader, _ in rows)


def history_of(seed: int) -> ReadingHistory:
    """Some branches below a cached prompt."""
    history = ReadingHistory(seed, pages=40)
    history.prompt(21)
    while not history.frozen:
        history.computed(history.readers())
    for _ in range(3):
        assert history.fork(history.frozen[0])
    return history


@pytest.mark.parametrize("kind", ["items", "tiles", "deterministic tiles"])
def test_one_plan_serves_a_round(ops: Kernels, kind: str) -> None:
    if kind != "items" and ops.tiling(KV_HEADS * GROUP, KV_HEADS) is None:
        pytest.skip("these kernels read items, not tiles")
    went_on = 0
    for seed in range(2):
        history = history_of(seed)
        planner: Planner = ItemPlanner()
        if kind != "items":
            tiling = Tiling((2, 5), (1, 60)[seed % 2])
            planner = TilePlanner(tiling, GROUP, HEAD_DIM, deterministic=kind != "tiles")
        history.event()
        went_on += check_round(ops, planner, history, seed)
    assert went_on > 0
