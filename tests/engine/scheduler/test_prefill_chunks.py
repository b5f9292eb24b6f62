"""A long prompt is computed in small chunks next to decoding branches, and in large chunks alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from marcot import Engine, Expansion, Sampling
from marcot.engine.scheduler.expansion_batch import ExpansionBatch
from marcot.engine.scheduler.limits import SchedulerLimits
from marcot.engine.usage import Usage

SAMPLING = Sampling(max_tokens=200, ignore_eos=True)


@pytest.fixture
def engine(tiny_checkpoint: Callable[..., Path]) -> Engine:
    engine = Engine.load(str(tiny_checkpoint("qwen2", num_hidden_layers=1)), kv_tokens=4096)
    engine._scheduler._limits = SchedulerLimits(step_tokens=64, prefill_tokens=8)
    return engine


@pytest.mark.parametrize(("decoding", "steps"), [(0, 2), (1, 13), (3, 13)])
def test_chunks_leave_room_for_branches_that_decode(engine: Engine, decoding: int, steps: int) -> None:
    scheduler = engine._scheduler
    with engine.tree.turn, engine.prefill([5, 6, 7]) as node:
        batch = ExpansionBatch(scheduler, engine.tree, [Expansion(node, decoding, SAMPLING)] * bool(decoding), Usage())
        if decoding:
            scheduler.step()
        with engine.routines.open([9, *range(3, 103)]) as prompt:
            before = [len(branch.node.tokens) for family in batch.branches for branch in family]
            prefill = scheduler.prefill(prompt.kv, Usage())
            taken = 0
            while not prefill.finished:
                scheduler.step()
                taken += 1
        after = [len(branch.node.tokens) for family in batch.branches for branch in family]
        batch.cancel()
    assert taken == steps
    assert after == [count + steps for count in before]
