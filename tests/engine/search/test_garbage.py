"""A search that has ended is freed at once, without the garbage collector, which programs run rarely."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import Engine
from marcot.engine.search import STRATEGIES
from support.searches.search_invariants import SMALL


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)), kv_tokens=8192)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_search_leaves_nothing_to_the_collector(engine: Engine, name: str) -> None:
    options: Any = SMALL.get(name, {}) | {"rollouts": 4, "max_rollout_tokens": 12, "action": "mini-step-3"}
    strategy = STRATEGIES[name](**options)
    engine.search(["How many clips?"], strategy)  # the first one imports modules and fills caches
    gc.collect()
    gc.disable()
    try:
        engine.search(["How many pens?", "How many cups?"], strategy, concurrency=2)
        assert gc.collect() == 0
    finally:
        gc.enable()
