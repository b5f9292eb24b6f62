"""A call that is interrupted in the middle leaves no request, handle or page behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from marcot.engine import AsyncEngine, Engine, Sampling
from support.searches.held_nodes import check_nothing_is_left

PROMPT = [number % 300 for number in range(1, 800)]
"""More tokens than one step takes."""

CALLS: dict[str, Callable[[Engine], object]] = {
    "prefill": lambda engine: engine.prefill(PROMPT),
    "score": lambda engine: engine.score([PROMPT, PROMPT[5:]]),
    "score-and-keep": lambda engine: engine.score([PROMPT], keep=True),
    "expand": lambda engine: engine.expand(engine.prefill(PROMPT[:3]), 3, Sampling(max_tokens=9, ignore_eos=True)),
}


@pytest.fixture
def engine(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)), kv_tokens=8192)


@pytest.mark.parametrize("call", CALLS)
def test_an_interrupted_call_leaves_nothing_behind(call: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = engine.routines.scheduler
    step, steps = scheduler.step, 0

    def interrupted() -> None:
        nonlocal steps
        steps += 1
        if steps == 2:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(scheduler, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        CALLS[call](engine)
    assert scheduler.idle
    check_nothing_is_left(engine)


def test_a_cancelled_task_leaves_no_score_behind(engine: Engine) -> None:
    async def run() -> None:
        async with AsyncEngine(engine) as serving:
            first = asyncio.ensure_future(serving.score([PROMPT] * 20))
            while not serving.stats().running:
                await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            [score] = await serving.score([PROMPT[:7]])
            assert len(score.token_ids) == 7

    asyncio.run(run())
    check_nothing_is_left(engine)
