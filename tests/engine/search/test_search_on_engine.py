"""Every strategy on the real engine, with a tiny model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import Engine, Outcome, Progress, Sampling
from marcot.engine.search import STRATEGIES, SearchResult, Strategy
from support.searches.held_nodes import held_nodes
from support.searches.search_invariants import SMALL

QUESTIONS = ["How many clips?", "小明有三个苹果，又买了五个？", "How many clips?"]
EACH = pytest.mark.parametrize("name", STRATEGIES)


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)))


def quick(name: str, **options: Any) -> Strategy:
    return STRATEGIES[name](
        **SMALL.get(name, {}) | {"rollouts": 5, "max_rollout_tokens": 12, "action": "mini-step-3"} | options
    )


def test_progress_counts_the_whole_request(engine: Engine) -> None:
    events = list(engine.stream([*QUESTIONS, "", "And in May?"], quick("mcts"), concurrency=2))
    finished = 0
    for event in events:
        if isinstance(event, Outcome):
            finished += 1
        else:
            assert (event.finished, event.total) == (finished, 5)
            assert 1 <= event.running <= 2
    assert finished == 5
    assert any(isinstance(event, Progress) and event.running == 2 for event in events)
    for event in engine.stream(iter(QUESTIONS), quick("greedy")):
        assert isinstance(event, Outcome) or event.total is None


def without_stats(results: list[SearchResult]) -> list[SearchResult]:
    return [replace(result, stats=None) for result in results]


@EACH
@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": 40, "rollouts": None},
        {"max_nodes": 9},
        {"max_seconds": 0.05, "rollouts": 10_000},
        {"action": "step", "reflection": True, "max_rollout_tokens": 20},
        {"action": "marco-v2", "max_rollout_tokens": 20},
        {"value": "0.5*marco-k10+0.5*deepconf-tail", "action": "token"},
        {"sampling": Sampling(temperature=2.0, top_k=0, top_p=1.0, seed=5), "prune": 0.5},
    ],
    ids="-".join,
)
def test_every_search_ends_and_leaves_nothing_behind(engine: Engine, name: str, options: dict[str, Any]) -> None:
    results = engine.search(QUESTIONS, quick(name, **options))
    assert [result.question for result in results] == QUESTIONS
    for result in results:
        assert result.rollouts
        assert result.stats is not None
        assert max(rollout.spent for rollout in result.rollouts) <= result.stats.generated_tokens
        assert result.stats.generated_tokens <= (options.get("max_tokens") or 10**9)
        assert len(result.tree) <= options.get("max_nodes", 10**9)
    engine.tree.check_integrity()
    assert held_nodes(engine) == 0


@EACH
def test_the_same_search_again_is_the_same(engine: Engine, name: str) -> None:
    """Also when the cache holds what the first search left."""
    first, second = (without_stats(engine.search(QUESTIONS, quick(name))) for _ in range(2))
    assert first == second
    assert first[0].rollouts == first[2].rollouts


@EACH
def test_a_search_does_not_depend_on_other_searches(engine: Engine, name: str) -> None:
    together = engine.search(QUESTIONS, quick(name))
    for question, one in zip(QUESTIONS, together, strict=True):
        [alone] = engine.search(question, quick(name))
        assert [rollout.text for rollout in one.rollouts] == [rollout.text for rollout in alone.rollouts]
        assert [(node.visits, node.token_ids) for node in one.tree] == [
            (node.visits, node.token_ids) for node in alone.tree
        ]
        assert one.value == pytest.approx(alone.value, abs=1e-5)


@EACH
def test_the_value_is_the_mean_confidence_of_a_chain(engine: Engine, name: str) -> None:
    [result] = engine.search(QUESTIONS[:1], quick(name))
    for rollout in result.rollouts:
        confidences: list[float] = []
        at: int | None = rollout.leaf
        while at is not None:
            confidences += result.tree[at].confidences
            at = result.tree[at].parent
        assert rollout.value == pytest.approx(sum(confidences) / len(confidences), rel=1e-9)
