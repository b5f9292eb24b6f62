"""MCTS in a toy world: rewards, budgets, deadlines, reflection and invalid options."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine.errors import InputError, SamplingError
from marcot.engine.sampling.sampling import Sampling
from marcot.engine.search import MCTS, SearchResult
from marcot.engine.search.rollout.reflection import REFLECTION
from support.searches.toy_world import EOS, ToyWorld, decode, hashed_draw, scripted_draw


def search(world: ToyWorld, **options: Any) -> SearchResult:
    result = world.run(MCTS(**{"max_rollout_tokens": 40, "vote_margin": 0} | options))
    check(world, result)
    return result


def check(world: ToyWorld, result: SearchResult) -> None:
    """What must hold after any search: all nodes are released, and tree and rollouts agree."""
    assert all(node.released for node in world.nodes[1:])
    assert not world.nodes[0].released, "the prompt is the engine's"
    root, *others = result.tree
    assert (root.id, root.parent, root.visits) == (0, None, len(result.rollouts))
    assert [node.id for node in result.tree] == list(range(len(result.tree)))
    for node in result.tree:
        below = [child for child in others if child.parent == node.id]
        ending = [rollout for rollout in result.rollouts if rollout.leaf == node.id]
        assert node.visits == sum(child.visits for child in below) + len(ending)
        rewards = sum(child.visits * child.value for child in below) + sum(rollout.value for rollout in ending)
        assert node.visits * node.value == pytest.approx(rewards)
    for rollout in result.rollouts:
        assert "".join(result.tree[id].text for id in path(result, rollout.leaf)) == rollout.text
        assert 0.0 <= rollout.value <= 1.0
    assert 0.0 <= result.confidence <= 1.0
    chosen = [rollout for rollout in result.rollouts if rollout.leaf == result.best_path[-1]]
    assert (result.text, result.value, result.answer) in [(each.text, each.value, each.answer) for each in chosen]
    assert list(result.best_path) == path(result, chosen[0].leaf)


def path(result: SearchResult, leaf: int | None) -> list[int]:
    ids: list[int] = []
    while leaf is not None:
        ids.append(leaf)
        leaf = result.tree[leaf].parent
    return ids[::-1]


@pytest.mark.parametrize("action", ["step", "mini-step-64", "mini-step-32", "mini-step-3", "token"])
@pytest.mark.parametrize("reflection", [False, True], ids=["plain", "reflection"])
@pytest.mark.parametrize("rollouts", [1, 2, 13])
def test_as_many_rollouts_as_asked_for(action: str, reflection: bool, rollouts: int) -> None:
    world = ToyWorld(hashed_draw())
    result = search(world, action=action, reflection=reflection, rollouts=rollouts)
    assert len(result.rollouts) == rollouts


def test_the_reward_is_the_mean_confidence_of_the_whole_chain() -> None:
    world = ToyWorld(hashed_draw())
    result = search(world, action="mini-step-3", rollouts=10)
    branches = [node for node in world.nodes if node.finish_reason is not None]
    prompt = len(world.nodes[0].path_ids)
    for branch, rollout in zip(branches, result.rollouts, strict=True):
        confidences = branch.confidences.tolist()
        fork = branch.path_ids[: len(branch.path_ids) - len(confidences)]
        while len(fork) > prompt:
            parent = next(node for node in branches if node.path_ids[: len(fork)] == fork)
            own = len(parent.path_ids) - len(parent.confidences)
            confidences = parent.confidences[: len(fork) - own].tolist() + confidences
            fork = fork[:own]
        assert len(confidences) == rollout.tokens == len(branch.path_ids) - prompt
        assert rollout.value == pytest.approx(np.mean(confidences))
        assert rollout.text == decode(branch.path_ids[prompt:])


def test_no_token_is_generated_twice() -> None:
    world = ToyWorld(hashed_draw())
    result = search(world, action="mini-step-3", rollouts=12)
    assert world.generated == sum(node.tokens for node in result.tree)
    assert world.generated < sum(rollout.tokens for rollout in result.rollouts)


def test_the_answer_is_read_from_the_chosen_rollout() -> None:
    world = ToyWorld(scripted_draw([1, 2, 3, 4, 9, EOS], [4, 9, EOS], [4, 10, EOS]))
    result = search(world, rollouts=3)
    assert [rollout.answer for rollout in result.rollouts] == ["8", "8", "9"]
    assert result.answer == "8"
    assert result.confidence == pytest.approx(2 / 3)
    assert result.question == "six plus two?"


def test_a_character_over_two_tokens_belongs_to_the_node_that_completes_it() -> None:
    letter = [100 + byte for byte in "é".encode()]
    world = ToyWorld(scripted_draw([1, *letter, EOS], [1, letter[0], 100 + 0xA8, EOS], [2, EOS]))
    result = search(world, action="token", rollouts=3)
    assert [rollout.text for rollout in result.rollouts] == [" sixé", " sixè", " plus"]
    assert [node.text for node in result.tree] == ["", " six", "", "é", "", "è", "", " plus", ""]


@pytest.mark.parametrize("parallel", [1, 2, 7])
def test_waves_are_as_wide_as_asked_for(parallel: int) -> None:
    world = ToyWorld(hashed_draw())
    search(world, parallel=parallel, rollouts=20, action="mini-step-3")
    sizes = [len(wave.expansions) for wave in world.waves]
    assert max(sizes) == parallel
    assert sum(sizes) == 20


def test_the_same_search_twice_is_the_same() -> None:
    options = {"action": "mini-step-3", "rollouts": 15, "reflection": True}
    assert search(ToyWorld(hashed_draw()), **options) == search(ToyWorld(hashed_draw()), **options)


def test_greedy_rollouts_share_one_chain() -> None:
    world = ToyWorld(lambda path, sample, position: (EOS if len(path) + position > 20 else 1, 0.5))
    result = search(world, rollouts=7, width=2, action="token")
    assert len({rollout.leaf for rollout in result.rollouts}) == 1
    assert {node.visits for node in result.tree} == {7}


def test_uct_finds_the_better_branch() -> None:
    def draw(path: list[int], sample: int, position: int) -> tuple[int, float]:
        chain = path[13:]
        first = chain[0] if chain else 1 + sample % 3
        depth = len(chain) + position
        token = first if depth == 0 else EOS if depth == 8 else 1 + (sample + position) % 9
        return token, 0.9 if first == 2 else 0.1

    result = search(ToyWorld(draw), rollouts=40, width=3, action="token", exploration=0.2, parallel=1)
    by_first = {node.text: node.visits for node in result.tree if node.parent == 0}
    assert by_first[" plus"] > 20
    assert result.value == pytest.approx(0.9)


def test_progress_counts_up() -> None:
    world = ToyWorld(hashed_draw())
    search(world, rollouts=9, parallel=2)
    first, *later = [wave.progress for wave in world.waves]
    assert (first.rollouts, first.nodes, first.generated_tokens, first.best_answer) == (0, 1, 0, "")
    assert first.best_value is None
    assert [progress.rollouts for progress in later] == [2, 4, 6, 8]
    assert later[-1].best_value == max(progress.best_value for progress in later)


@given(budget=st.integers(1, 300), parallel=st.integers(1, 5), reflection=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_token_budget_is_never_exceeded(budget: int, parallel: int, reflection: bool, seed: int) -> None:
    draw = hashed_draw()
    world = ToyWorld(lambda path, sample, position: draw([*path, seed], sample, position))
    result = search(world, max_tokens=budget, rollouts=50, parallel=parallel, reflection=reflection)
    assert world.generated <= budget
    assert result.rollouts
    assert world.generated == budget or len(result.rollouts) == 50


@given(budget=st.integers(2, 40), parallel=st.integers(1, 5), reflection=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_node_budget_is_never_exceeded(budget: int, parallel: int, reflection: bool) -> None:
    world = ToyWorld(hashed_draw())
    result = search(
        world, max_nodes=budget, rollouts=50, parallel=parallel, reflection=reflection, action="mini-step-3"
    )
    assert len(result.tree) <= budget
    assert len(result.tree) == budget or len(result.rollouts) == 50


def test_rollouts_cut_by_the_deadline_are_dropped() -> None:
    world = ToyWorld(hashed_draw(), cancel_at=100)
    result = search(world, rollouts=50, max_seconds=60.0)
    assert {rollout.finish_reason for rollout in result.rollouts} <= {"eos", "length"}
    assert world.waves[0].deadline is not None


def test_when_the_deadline_cut_everything_the_longest_part_is_the_result() -> None:
    world = ToyWorld(scripted_draw([1, 2, 3, 4, 5, 9, EOS], [4, 9, EOS]), cancel_at=5)
    result = search(world, rollouts=2, max_seconds=60.0)
    [rollout] = result.rollouts
    assert (rollout.text, rollout.finish_reason, rollout.tokens) == (" six plus two is eight", "cancelled", 5)


def test_when_nothing_was_generated_in_time_there_is_still_a_result() -> None:
    result = search(ToyWorld(hashed_draw(), cancel_at=0), max_seconds=1e-6)
    [rollout] = result.rollouts
    assert (rollout.text, rollout.value, rollout.leaf, result.confidence) == ("", 0.0, 0, 0.0)


def test_no_new_wave_starts_after_the_deadline() -> None:
    world = ToyWorld(hashed_draw())
    search(world, rollouts=50, parallel=1, max_seconds=1e-6)
    assert len(world.waves) == 1


def test_a_reflection_follows_the_thought_and_has_no_part_in_the_reward() -> None:
    world = ToyWorld(scripted_draw([1, 4, 9, EOS], [4, 10, EOS]))
    result = search(world, rollouts=1, reflection=True)
    [rollout] = result.rollouts
    assert rollout.text == f" six is 8\n\n{REFLECTION} is 9"
    assert (rollout.answer, rollout.tokens, rollout.value) == ("9", 6, 0.5)
    assert [node.text for node in result.tree] == ["", " six is 8", f"\n\n{REFLECTION}", " is 9"]


def test_a_chain_reflects_once() -> None:
    world = ToyWorld(hashed_draw())
    result = search(world, rollouts=30, reflection=True, action="mini-step-3", max_rollout_tokens=200)
    assert all(rollout.text.count(REFLECTION) <= 1 for rollout in result.rollouts)
    assert all(REFLECTION in rollout.text for rollout in result.rollouts if rollout.complete)


def test_a_chain_that_was_cut_short_does_not_reflect() -> None:
    world = ToyWorld(lambda path, sample, position: (1, 0.5))
    result = search(world, rollouts=4, reflection=True)
    assert all(REFLECTION not in rollout.text and rollout.tokens == 40 for rollout in result.rollouts)


@pytest.mark.parametrize("context", [14, 20, 90, 100])
def test_a_reflection_that_finds_no_room_in_the_context_is_left_out(context: int) -> None:
    world = ToyWorld(hashed_draw(eos_odds=0.3), context=context)
    result = search(world, rollouts=10, reflection=True, action="token")
    assert len(result.rollouts) == 10


def test_an_abandoned_search_releases_its_nodes() -> None:
    world = ToyWorld(hashed_draw())
    running = MCTS(rollouts=50, action="token").search(world.task())
    wave = next(running)
    for _ in range(3):
        wave = running.send([world.expand(expansion) for expansion in wave.expansions])
    running.close()
    assert all(node.released for node in world.nodes[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rollouts": 0}, "rollouts=0: must be an integer >= 1"),
        ({"width": 0}, "width=0"),
        ({"parallel": -1}, "parallel=-1"),
        ({"max_depth": 0}, "max_depth=0"),
        ({"max_rollout_tokens": 0}, "max_rollout_tokens=0"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"max_nodes": 1}, "max_nodes=1: must be an integer >= 2"),
        ({"max_seconds": 0.0}, "max_seconds=0.0"),
        ({"max_seconds": math.inf}, "max_seconds=inf"),
        ({"exploration": -0.1}, "exploration=-0.1"),
        ({"exploration": math.nan}, "exploration=nan"),
        ({"action": "leap"}, "action 'leap'"),
        ({"answer_rule": "loudest"}, "answer_rule 'loudest': must be one of confidence-vote"),
    ],
    ids=lambda value: str(next(iter(value))) if isinstance(value, dict) else "",
)
def test_senseless_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MCTS(**options)


def test_sampling_checks_itself() -> None:
    with pytest.raises(SamplingError):
        MCTS(sampling=Sampling(temperature=-1.0))
