"""A request that has finished stays finished, whatever happens to its node afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from marcot.engine import Engine
from support.searches.held_nodes import check_nothing_is_left

LONG = [number % 300 for number in range(1, 1200)]
"""More tokens than two steps take."""


@pytest.fixture
def engine(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)), kv_tokens=8192)


def test_a_kept_score_whose_node_is_split_while_others_are_scored(engine: Engine) -> None:
    short = LONG[:40]
    expected = engine.score([short], cache_salt="alone")[0].logprobs
    scoring = engine.routines.score([short, LONG[5:]], keep=True)
    next(scoring)
    engine.routines.scheduler.step()
    next(scoring)
    engine.routines.open([*short[:9], 7]).release()  # splits the node of the first score, which has finished
    scores = None
    for _ in range(9):
        engine.routines.scheduler.step()
        try:
            next(scoring)
        except StopIteration as stop:
            scores = stop.value
            break
    assert scores is not None, "it waits forever"
    assert scores[0].logprobs[1:].tolist() == expected[1:].tolist()
    check_nothing_is_left(engine)


def test_a_prefill_whose_pages_are_evicted_before_anybody_asks(engine: Engine) -> None:
    scheduler = engine.routines.scheduler
    with engine.routines.open(LONG) as node:
        prefill = scheduler.prefill(node.kv, engine.usage)
        while not scheduler.idle:
            scheduler.step()
        assert engine.tree.vacate(engine.tree.pool.capacity)
        assert prefill.finished
    del node, prefill
    check_nothing_is_left(engine)
