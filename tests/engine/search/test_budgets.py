"""Budgets, and the counts of every strategy under them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine.search import STRATEGIES, SearchResult
from support.searches.search_invariants import SMALL, check, way
from support.searches.toy_world import EOS, ToyWorld, hashed_draw

EACH = pytest.mark.parametrize("name", STRATEGIES)
ENDLESS = pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "greedy"])
ACTIONS = st.sampled_from(["step", "mini-step-3", "token"])


def search(world: ToyWorld, name: str, **options: Any) -> SearchResult:
    result = world.run(STRATEGIES[name](**SMALL.get(name, {}) | {"max_rollout_tokens": 30, "vote_margin": 0} | options))
    check(world, result)
    return result


@ENDLESS
@given(budget=st.integers(1, 250), parallel=st.integers(1, 5), seed=st.integers(0, 99), action=ACTIONS)
@settings(max_examples=20, deadline=None)
def test_a_token_budget_is_used_up_and_never_exceeded(
    name: str, budget: int, parallel: int, seed: int, action: str
) -> None:
    world = ToyWorld(hashed_draw(seed=seed))
    result = search(world, name, max_tokens=budget, rollouts=None, parallel=parallel, action=action)
    assert world.generated == budget
    assert result.rollouts


@pytest.mark.parametrize("name", ["best-of-n", "self-consistency", "mcts"])
@given(budget=st.integers(1, 250), parallel=st.integers(2, 6), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_only_a_chain_alone_may_be_cut_by_the_token_budget(name: str, budget: int, parallel: int, seed: int) -> None:
    """Chains that are drawn together have room for their greatest length."""
    world = ToyWorld(hashed_draw(seed=seed))
    search(world, name, max_tokens=budget, rollouts=None, parallel=parallel, action="mini-step-3")
    prompt = len("six plus two?")
    for wave in world.waves:
        longest = [each.node.length - prompt + each.sampling.max_tokens for each in wave.expansions]
        assert len(longest) == 1 or set(longest) == {30}


@EACH
@given(budget=st.integers(1, 250), reflection=st.booleans(), seed=st.integers(0, 99), prune=st.sampled_from([0, 0.5]))
@settings(max_examples=15, deadline=None)
def test_a_token_budget_beside_one_of_rollouts(
    name: str, budget: int, reflection: bool, seed: int, prune: float
) -> None:
    world = ToyWorld(hashed_draw(seed=seed))
    result = search(world, name, max_tokens=budget, rollouts=7, reflection=reflection, prune=prune)
    assert world.generated <= budget
    most = 1 if name == "greedy" else 7
    assert world.generated == budget or len(result.rollouts) >= most


@EACH
@given(budget=st.integers(2, 40), parallel=st.integers(1, 5), reflection=st.booleans(), action=ACTIONS)
@settings(max_examples=15, deadline=None)
def test_a_node_budget_is_never_exceeded(name: str, budget: int, parallel: int, reflection: bool, action: str) -> None:
    world = ToyWorld(hashed_draw())
    result = search(world, name, max_nodes=budget, rollouts=30, parallel=parallel, reflection=reflection, action=action)
    assert len(result.tree) <= budget
    assert len(result.tree) == budget or len(result.rollouts) >= 30 or name == "greedy"


@EACH
@given(rollouts=st.integers(1, 25), parallel=st.integers(1, 5), action=ACTIONS)
@settings(max_examples=10, deadline=None)
def test_as_many_rollouts_as_asked_for(name: str, rollouts: int, parallel: int, action: str) -> None:
    """Chains that end in the same wave as the last requested one are counted, because they are paid for."""
    result = search(ToyWorld(hashed_draw()), name, rollouts=rollouts, parallel=parallel, action=action)
    if name in SMALL:
        assert len(result.rollouts) >= rollouts
        assert sum(rollout.spent < result.rollouts[-1].spent for rollout in result.rollouts) < rollouts
    else:
        assert len(result.rollouts) == (1 if name == "greedy" else rollouts)


@EACH
@given(depth=st.integers(1, 6), longest=st.integers(1, 20), action=ACTIONS)
@settings(max_examples=10, deadline=None)
def test_no_chain_is_longer_or_deeper_than_allowed(name: str, depth: int, longest: int, action: str) -> None:
    world = ToyWorld(hashed_draw())
    result = search(world, name, rollouts=6, max_depth=depth, max_rollout_tokens=longest, action=action)
    assert max(len(way(result, node.id)) - 1 for node in result.tree) <= depth
    assert max(rollout.tokens for rollout in result.rollouts) <= longest


@EACH
@given(cancel_at=st.integers(0, 150), action=ACTIONS, reflection=st.booleans())
@settings(max_examples=20, deadline=None)
def test_what_the_deadline_cut_counts_only_if_there_is_nothing_else(
    name: str, cancel_at: int, action: str, reflection: bool
) -> None:
    world = ToyWorld(hashed_draw(), cancel_at=cancel_at)
    result = search(world, name, rollouts=50, max_seconds=60.0, action=action, reflection=reflection)
    assert world.generated <= cancel_at
    cut = [rollout for rollout in result.rollouts if rollout.finish_reason == "cancelled"]
    assert not cut or cut == list(result.rollouts)
    assert len(cut) <= 1
    assert all(wave.deadline is not None for wave in world.waves)


@EACH
@pytest.mark.parametrize("reflection", [False, True], ids=["plain", "reflection"])
@pytest.mark.parametrize("action", ["step", "mini-step-3", "token", "uncertain-2", "marco-v2"])
def test_the_same_search_twice_is_the_same(name: str, reflection: bool, action: str) -> None:
    options: dict[str, Any] = {"action": action, "rollouts": 9, "reflection": reflection, "prune": 0.3}
    assert search(ToyWorld(hashed_draw()), name, **options) == search(ToyWorld(hashed_draw()), name, **options)


@EACH
@pytest.mark.parametrize("action", ["step", "mini-step-3", "token"])
@pytest.mark.parametrize("room", [1, 2, 9])
def test_a_full_context_ends_chains(name: str, action: str, room: int) -> None:
    world = ToyWorld(hashed_draw(eos_odds=0.0), context=len("six plus two?") + room)
    result = search(world, name, action=action, rollouts=4)
    assert {(rollout.finish_reason, rollout.tokens) for rollout in result.rollouts} == {("length", room)}


@EACH
@pytest.mark.parametrize("action", ["step", "mini-step-3", "token", "uncertain-2"])
def test_a_model_that_says_nothing(name: str, action: str) -> None:
    world = ToyWorld(lambda path, sample, position: (EOS, 0.75))
    result = search(world, name, action=action, rollouts=3)
    assert {(rollout.text, rollout.tokens, rollout.value, rollout.leaf) for rollout in result.rollouts} == {
        ("", 1, 0.75, 1)
    }
    assert len(result.tree) == 2
    assert (result.answer, result.best_path) == ("", (0, 1))


@EACH
def test_an_abandoned_search_releases_its_nodes(name: str) -> None:
    for waves in range(4):
        world = ToyWorld(hashed_draw(eos_odds=0.0))
        running = STRATEGIES[name](rollouts=20, action="token", max_rollout_tokens=20).search(world.task())
        wave = next(running)
        for _ in range(waves if name != "greedy" else 0):
            wave = running.send([world.expand(expansion) for expansion in wave.expansions])
        running.close()
        assert all(node.released for node in world.nodes[1:])


@EACH
def test_a_silent_model_is_prompted_until_the_chain_may_end(name: str) -> None:
    world = ToyWorld(lambda path, sample, position: (EOS, 0.75))
    result = search(world, name, action="marco-v2", rollouts=3, max_rollout_tokens=100)
    assert all("the final answer is" in rollout.text for rollout in result.rollouts)


def test_greedy_asks_for_the_most_probable_tokens() -> None:
    world = ToyWorld(hashed_draw())
    search(world, "greedy", rollouts=5)
    [[expansion]] = [wave.expansions for wave in world.waves]
    assert expansion.sampling.temperature == 0.0
