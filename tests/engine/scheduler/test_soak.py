"""After many questions, an engine keeps the nodes of its tree and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import MCTS, Beam, Engine, Outcome, Sampling
from marcot.engine.scheduler.limits import SchedulerLimits
from support.searches.held_nodes import check_nothing_is_left

SMALL, LARGE = 640, 65_536
"""KV tokens. With the first number, every question evicts what others left; with the second, nothing is evicted."""


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Callable[..., Path]) -> str:
    return str(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1))


@pytest.fixture
def engine(folder: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = Engine.load(folder, kv_tokens=getattr(request, "param", LARGE))
    yield engine
    check_nothing_is_left(engine)


EACH_POOL = pytest.mark.parametrize("engine", [SMALL, LARGE], ids=["small-pool", "large-pool"], indirect=True)


@EACH_POOL
def test_three_hundred_questions(engine: Engine) -> None:
    questions = (f"How many clips did {number} friends sell in {number * 7 % 91} days?" for number in range(300))
    strategy = MCTS(rollouts=3, max_rollout_tokens=16, action="mini-step-4", vote_margin=0)
    outcomes = [event for event in engine.stream(questions, strategy) if isinstance(event, Outcome)]
    assert len(outcomes) == 300
    assert all(outcome.error is None for outcome in outcomes)


@EACH_POOL
def test_searches_that_are_cut_short(engine: Engine) -> None:
    """By their deadline, by a budget, and by a caller who closes the stream."""
    for number in range(60):
        beam = Beam(beams=2, samples=2, rollouts=None, action="token", max_seconds=0.005)
        engine.search(f"How many clips in {number} days?", beam)
        strategy = MCTS(rollouts=50, max_rollout_tokens=16, action="token", max_tokens=20)
        stream = engine.stream([f"How many clips in {number} weeks?"] * 3, strategy, concurrency=2)
        next(stream)
        stream.close()


@EACH_POOL
def test_nodes_that_come_and_go(engine: Engine) -> None:
    for number in range(120):
        node = engine.prefill([5, 6, 7, number % 50 + 3])
        child, _ = engine.expand(node, 2, Sampling(max_tokens=9, seed=number, ignore_eos=True))
        with child.prefix(1 + number % 9) as head, head.append([8, 9, number + 3]) as more:
            engine.expand(more, 1, Sampling(max_tokens=3))
        engine.score([[5, 6, number % 40 + 3]])


def test_a_cached_prompt_again_and_again(engine: Engine) -> None:
    """Nothing has to be computed, so nothing may be queued for a step that nobody runs."""
    for _ in range(500):
        engine.prefill([5, 6, 7]).release()


def test_a_cached_prompt_counts_as_used(folder: str) -> None:
    engine = Engine.load(folder, kv_tokens=48)
    for token in (3, 4, 3, 5):
        engine.prefill([token] * 16).release()
    before = engine.usage.recomputed_tokens
    engine.prefill([3] * 16).release()
    engine.prefill([9] * 16).release()
    engine.prefill([3] * 16).release()
    assert engine.usage.recomputed_tokens == before


@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize(
    ("part", "at"),
    [("run", 0), ("draw", 0), ("start", 0), *((part, at) for part in ("launch", "land") for at in (0, 3, 6))],
)
def test_an_interrupted_step_leaves_other_branches_as_they_are(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, part: str, at: int, tokens: int
) -> None:
    """A stream that was suspended during the interruption goes on as if nothing had happened."""
    strategy = MCTS(rollouts=3, max_rollout_tokens=16, action="mini-step-4", vote_margin=0)
    expected = [replace(result, stats=None) for result in engine.search(["a", "b"], strategy)]
    stream = engine.stream(["a", "b"], strategy)
    events = [next(stream)]
    step_runner = engine._scheduler._step_runner
    steps = iter(range(100))

    def interrupted(*arguments: Any) -> Any:
        result = getattr(type(step_runner), part)(step_runner, *arguments)
        if next(steps) == at:
            raise KeyboardInterrupt
        return result

    engine._scheduler._limits = SchedulerLimits(round_tokens=tokens)
    node = engine.prefill([5, 6, 7]).append([8, 9])
    with monkeypatch.context() as patch:
        patch.setattr(step_runner, part, interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.expand(node, 2, Sampling(max_tokens=40, ignore_eos=True))
    node.release()
    engine.tree.check_integrity()
    events += stream
    results = {event.index: event.result for event in events if isinstance(event, Outcome)}
    assert [replace(results[index], stats=None) for index in (0, 1)] == expected
