"""MCTS on the real engine, with a tiny model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import MCTS, Engine, Greedy, Outcome, Sampling
from marcot.engine.search.rollout.reflection import REFLECTION
from support.searches.held_nodes import held_nodes

QUESTIONS = ["How many clips?", "小明有三个苹果，又买了五个？", "How many clips?"]


@pytest.fixture
def engine(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)))


def quick(**options: Any) -> MCTS:
    return MCTS(**{"rollouts": 7, "max_rollout_tokens": 12, "action": "mini-step-3", "width": 2} | options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"action": "token"},
        {"action": "step", "reflection": True, "max_rollout_tokens": 30},
        {"parallel": 1, "answer_rule": "most-visits"},
        {"max_tokens": 40},
        {"max_nodes": 9},
        {"max_seconds": 0.05, "rollouts": 10_000},
        {"sampling": Sampling(temperature=0.0)},
        {"sampling": Sampling(temperature=2.0, top_k=0, top_p=1.0, repetition_penalty=1.3, seed=5)},
    ],
    ids=str,
)
def test_every_kind_of_search_ends_and_leaves_nothing_behind(engine: Engine, options: dict[str, Any]) -> None:
    results = engine.search(QUESTIONS, quick(**options))
    assert [result.question for result in results] == QUESTIONS
    for result in results:
        assert result.rollouts
        assert result.stats is not None
        # Samples with the same beginning share nodes, so the tree can hold fewer tokens than were drawn.
        assert sum(node.tokens for node in result.tree if REFLECTION not in node.text) <= result.stats.generated_tokens
        assert [rollout.finish_reason == "cancelled" for rollout in result.rollouts].count(True) in (0, 1)
    engine.tree.check_integrity()
    assert held_nodes(engine) == 0


def test_a_search_does_not_depend_on_other_searches(engine: Engine) -> None:
    together = engine.search(QUESTIONS, quick())
    alone = [engine.search(question, quick())[0] for question in QUESTIONS]
    for one, other in zip(together, alone, strict=True):
        assert [rollout.text for rollout in one.rollouts] == [rollout.text for rollout in other.rollouts]
        assert [node.visits for node in one.tree] == [node.visits for node in other.tree]
        assert one.value == pytest.approx(other.value, abs=1e-5)
    assert together[0].text == together[2].text


def test_a_stream_that_is_left_early_releases_its_nodes(engine: Engine) -> None:
    for event in engine.stream(QUESTIONS, quick(), concurrency=2):
        if isinstance(event, Outcome):
            break
    assert held_nodes(engine) == 0
    engine.tree.check_integrity()


@pytest.mark.parametrize("parallel", [1, 4])
def test_only_the_first_rollout_is_greedy(engine: Engine, parallel: int) -> None:
    options = {
        "max_rollout_tokens": 12,
        "sampling": Sampling(temperature=3.0, top_k=0, top_p=1.0),
        "parallel": parallel,
    }
    [surest] = engine.search(QUESTIONS[0], Greedy(max_rollout_tokens=12))
    [ours] = engine.search(QUESTIONS[0], quick(**options))
    [sampled] = engine.search(QUESTIONS[0], quick(**options, greedy_first=False))
    assert [rollout.text == surest.text for rollout in ours.rollouts] == [True] + [False] * 6
    assert surest.text not in {rollout.text for rollout in sampled.rollouts}
