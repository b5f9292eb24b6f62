"""MCTS whose rollouts are replaced as they end: the places stay filled, and results depend on nothing but tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine import MCTS, Engine, Question, Sampling
from marcot.engine.errors import InputError
from marcot.engine.scheduler.limits import SchedulerLimits
from marcot.engine.search import SearchResult
from marcot.engine.search.rollout.reflection import REFLECTION
from marcot.kernels import select
from marcot.model import Decoder, load_checkpoint
from support.searches.held_nodes import check_nothing_is_left
from support.searches.toy_world import EOS, ToyWorld, hashed_draw, scripted_draw

QUESTIONS = ["How many clips?", "小明有三个苹果，又买了五个？", "Natalia sold"]
CPU = torch.device("cpu")


def search(world: ToyWorld, reference: str | None = None, **options: Any) -> SearchResult:
    chosen = {"max_rollout_tokens": 90, "vote_margin": 0, "asynchronous": True} | options
    result = world.run(MCTS(**chosen), reference)
    assert all(node.released for node in world.nodes[1:])
    assert result.tree[0].visits == len(result.rollouts)
    return result


def quick(**options: Any) -> MCTS:
    chosen = {"rollouts": 7, "max_rollout_tokens": 40, "action": "mini-step-5", "width": 2, "vote_margin": 0}
    return MCTS(asynchronous=True, **chosen | options)


def without_stats(results: list[SearchResult]) -> list[SearchResult]:
    return [replace(result, stats=None) for result in results]


def chain(length: int, word: int) -> list[int]:
    return [word] * (length - 1) + [EOS]


def test_short_rollouts_do_not_wait_for_a_long_one() -> None:
    world = ToyWorld(scripted_draw(*(chain(length, word) for word, length in enumerate([85, 5, 7, 40, 3], 1))))
    result = search(world, rollouts=5, parallel=2, width=9, action="token", greedy_first=False)
    assert [rollout.tokens for rollout in result.rollouts] == [5, 7, 40, 3, 85]
    assert [rollout.spent for rollout in result.rollouts] == [5 + 8, 12 + 16, 52 + 56, 55 + 64, 140]
    assert len(world.waves) == 11, "85 tokens, as if nothing else had been drawn"


@pytest.mark.parametrize("parallel", [1, 3, 8])
def test_the_places_stay_filled(parallel: int) -> None:
    world = ToyWorld(hashed_draw(eos_odds=0.03))
    result = search(world, rollouts=40, parallel=parallel, action="mini-step-3", width=40)
    assert len(result.rollouts) == 40
    filled = [
        flying
        for flying, wave in zip(world.in_flight, world.waves, strict=True)
        if wave.progress.rollouts <= 40 - parallel
    ]
    assert set(filled) == {parallel}


def test_with_one_place_it_is_the_same_search() -> None:
    one, other = (
        search(ToyWorld(hashed_draw()), rollouts=20, parallel=1, action="mini-step-3", asynchronous=each)
        for each in (True, False)
    )
    assert replace(one, rollouts=()) == replace(other, rollouts=())
    assert one.rollouts == other.rollouts


@given(
    budget=st.integers(1, 500), parallel=st.integers(1, 6), reflection=st.booleans(), prune=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_a_token_budget_is_never_exceeded(budget: int, parallel: int, reflection: bool, prune: bool, seed: int) -> None:
    world = ToyWorld(hashed_draw(seed=seed))
    result = search(world, max_tokens=budget, rollouts=50, parallel=parallel, reflection=reflection, prune=0.5 * prune)
    assert world.generated <= budget
    assert result.rollouts
    assert all(one.spent <= other.spent for one, other in zip(result.rollouts, result.rollouts[1:], strict=False))
    assert max(rollout.spent for rollout in result.rollouts) <= world.generated
    assert world.generated == budget or len(result.rollouts) == 50


@given(budget=st.integers(2, 40), parallel=st.integers(1, 6), reflection=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_node_budget_is_never_exceeded(budget: int, parallel: int, reflection: bool) -> None:
    world = ToyWorld(hashed_draw())
    result = search(
        world, max_nodes=budget, rollouts=50, parallel=parallel, reflection=reflection, action="mini-step-3"
    )
    assert len(result.tree) <= budget
    assert len(result.tree) == budget or len(result.rollouts) == 50


@pytest.mark.parametrize("parallel", [2, 5])
def test_no_more_are_in_flight_than_the_vote_still_needs(parallel: int) -> None:
    world = ToyWorld(scripted_draw(*([4, 9, EOS], [4, 1, 1, 10, EOS], [4, 9, EOS])))
    result = search(world, rollouts=50, parallel=parallel, vote_margin=2, width=50)
    assert max(world.in_flight) == 2
    answers = [rollout.answer for rollout in result.rollouts]
    assert abs(answers.count("8") - answers.count("9")) == 2
    assert len(world.nodes) - 1 == len(answers), "no rollout was begun in vain"


def test_every_finished_thought_reflects_once() -> None:
    world = ToyWorld(hashed_draw())
    result = search(world, rollouts=30, reflection=True, action="mini-step-3", max_rollout_tokens=300)
    assert len(result.rollouts) == 30
    assert all(rollout.text.count(REFLECTION) == 1 for rollout in result.rollouts if rollout.complete)
    assert any(rollout.complete for rollout in result.rollouts)


def test_a_wrong_answer_is_taken_back_once() -> None:
    world = ToyWorld(hashed_draw(words=range(1, 7)))
    result = search(world, "8", action="marco-v2", rollouts=12, parallel=3, max_rollout_tokens=2000)
    assert len(result.rollouts) == 12
    kinds = [[node.kind for node in result.tree if node.id in path(result, each.leaf)] for each in result.rollouts]
    assert {kind.count("reflection") for kind in kinds} == {0, 1}


def path(result: SearchResult, leaf: int | None) -> set[int]:
    ids: set[int] = set()
    while leaf is not None:
        ids.add(leaf)
        leaf = result.tree[leaf].parent
    return ids


@pytest.mark.parametrize("cancel_at", [0, 100, 333])
def test_rollouts_cut_by_the_deadline_are_dropped(cancel_at: int) -> None:
    world = ToyWorld(hashed_draw(), cancel_at=cancel_at)
    result = search(world, rollouts=50, max_seconds=60.0)
    assert len(result.rollouts) < 50
    assert len(result.rollouts) == 1 or {each.finish_reason for each in result.rollouts} <= {"eos", "length"}


def test_an_abandoned_search_releases_its_nodes() -> None:
    world = ToyWorld(hashed_draw())
    running = MCTS(rollouts=50, action="token", asynchronous=True, vote_margin=0, width=4).search(world.task())
    wave = next(running)
    nodes = [world.expand(expansion) for expansion in wave.expansions]
    running.send([nodes[0], None, None, nodes[3]])
    running.close()
    assert all(world.nodes[index].released for index in (1, 4))


def test_it_is_on_or_off() -> None:
    with pytest.raises(InputError, match="asynchronous='yes': must be True or False"):
        MCTS(asynchronous="yes")  # type: ignore[arg-type]


# --- on the engine ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)


@pytest.fixture
def engine(folder: Path) -> Engine:
    return Engine.load(str(folder), kv_tokens=8192)


def limited(folder: Path, kv_tokens: int, **limits: int) -> Engine:
    """An engine with other limits."""
    with load_checkpoint(folder) as checkpoint:
        decoder = Decoder(checkpoint, select(CPU), torch.float32, CPU)
        return Engine(decoder, checkpoint.tokenizer(), kv_tokens, SchedulerLimits.of(decoder, 0)._replace(**limits))


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "hot": {"sampling": Sampling(temperature=2.0, top_k=0, top_p=1.0, seed=5), "parallel": 5},
    "tokens": {"max_tokens": 150, "rollouts": None},
    "reflection": {"reflection": True, "max_rollout_tokens": 60},
    "prune": {"prune": 0.5, "rollouts": 9, "max_rollout_tokens": 80},
    "marco-v2": {"action": "marco-v2"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_search_does_not_depend_on_other_searches(engine: Engine, options: dict[str, Any]) -> None:
    """Nor do its counts of tokens."""
    strategy = quick(**options)
    questions = [Question(text, "3") for text in QUESTIONS]
    together = engine.search(questions, strategy, concurrency=4)
    alone = [engine.search(question, strategy)[0] for question in questions]
    assert without_stats(together) == without_stats(alone)
    assert [each.stats and each.stats.generated_tokens for each in together] == [
        each.stats and each.stats.generated_tokens for each in alone
    ]
    check_nothing_is_left(engine)


@pytest.mark.parametrize(
    "limits", [{"round_tokens": 16}, {"round_tokens": 5}, {"requests": 3}, {"kv_tokens": 320}], ids=str
)
def test_a_search_does_not_depend_on_the_scheduler(engine: Engine, folder: Path, limits: dict[str, int]) -> None:
    strategy = quick(sampling=Sampling(temperature=1.5, seed=3))
    expected = without_stats(engine.search(QUESTIONS, strategy))
    other = limited(folder, **{"kv_tokens": 8192} | limits)
    results = other.search(QUESTIONS, strategy)
    assert without_stats(results) == expected
    if "kv_tokens" in limits:
        assert other.usage.preemptions > 0
    check_nothing_is_left(other)
