"""What all strategies get from `SearchRun`: reflection, stop strings, single actions, duplicate samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine.sampling.sampling import Sampling
from marcot.engine.search import MCTS, STRATEGIES, SearchResult
from marcot.engine.search.actions import GuidedActions, Kind
from marcot.engine.search.rollout.reflection import REFLECTION
from support.searches.search_invariants import SMALL, check
from support.searches.toy_world import EOS, WORDS, ToyWorld, hashed_draw

EACH = pytest.mark.parametrize("name", STRATEGIES)
CHAINS = pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in SMALL])
STEPWISE = pytest.mark.parametrize("name", SMALL)
SIX, PLUS, DOT, BLANK, MARK, EIGHT = (WORDS.index(word) for word in (" six", " plus", ".", "\n\n", "\nStep 2:", " 8"))
PROMPT = len("six plus two?")


def search(world: ToyWorld, name: str, **options: Any) -> SearchResult:
    result = world.run(STRATEGIES[name](**SMALL.get(name, {}) | {"max_rollout_tokens": 30} | options))
    check(world, result)
    return result


def saying(*tokens: int) -> ToyWorld:
    """A world where every chain consists of these tokens, followed by ends of sequence."""

    def draw(path: Sequence[int], sample: int, position: int) -> tuple[int, float]:
        at = len(path) - PROMPT + position
        return (tokens[at] if at < len(tokens) else EOS), 0.5

    return ToyWorld(draw)


def texts(result: SearchResult) -> list[str]:
    return [node.text for node in result.tree]


@CHAINS
@pytest.mark.parametrize("action", ["step", "mini-step-3", "token"])
def test_every_complete_chain_reflects_once(name: str, action: str) -> None:
    world = ToyWorld(hashed_draw(eos_odds=0.2))
    result = search(world, name, action=action, reflection=True, rollouts=15, max_rollout_tokens=200)
    assert all(rollout.text.count(REFLECTION) == 1 for rollout in result.rollouts)
    assert {node.kind for node in result.tree if REFLECTION in node.text} == {"reflection"}


@STEPWISE
def test_single_actions_do_not_reflect(name: str) -> None:
    result = search(ToyWorld(hashed_draw()), name, reflection=True, rollouts=5)
    assert not any(REFLECTION in rollout.text for rollout in result.rollouts)


@EACH
@given(seed=st.integers(0, 999), action=st.sampled_from(["step", "mini-step-3", "token"]))
@settings(max_examples=15, deadline=None)
def test_a_stop_string_of_the_user_ends_a_chain(name: str, seed: int, action: str) -> None:
    """It does not only end the action: nothing follows it, and the chain counts as complete."""
    world = ToyWorld(hashed_draw(seed=seed, eos_odds=0.02))
    result = search(world, name, action=action, rollouts=6, sampling=Sampling(stop=(" eight",)))
    for rollout in result.rollouts:
        if rollout.finish_reason == "stop":
            assert rollout.text.endswith(" eight")
        assert rollout.text.removesuffix(" eight").count(" eight") == 0
        assert rollout.complete == (rollout.finish_reason in ("stop", "eos"))


@EACH
def test_a_stop_token_ends_a_chain(name: str) -> None:
    world = saying(SIX, DOT, PLUS, EIGHT)
    result = search(world, name, rollouts=2, sampling=Sampling(stop_token_ids=(DOT,)))
    assert {(rollout.text, rollout.finish_reason) for rollout in result.rollouts} == {(" six.", "stop")}


@EACH
def test_a_stop_that_is_also_the_end_of_an_action_ends_the_chain(name: str) -> None:
    result = search(saying(SIX, BLANK, PLUS), name, rollouts=2, sampling=Sampling(stop=("\n\n",)))
    assert {(rollout.text, rollout.finish_reason) for rollout in result.rollouts} == {(" six\n\n", "stop")}


@EACH
def test_actions_without_a_blank_line_are_whole_chains(name: str) -> None:
    result = search(saying(SIX, PLUS, EIGHT), name, rollouts=2)
    assert texts(result) == ["", " six plus 8"]
    assert {rollout.finish_reason for rollout in result.rollouts} == {"eos"}


@EACH
def test_blank_lines_before_an_action_do_not_end_it(name: str) -> None:
    result = search(saying(BLANK, BLANK, SIX, BLANK, EIGHT), name, rollouts=2)
    assert texts(result) == ["", "\n\n\n\n six\n\n", " 8"]


@EACH
def test_a_mark_within_a_single_action_makes_it_two_nodes(name: str) -> None:
    result = search(saying(SIX, MARK, PLUS, BLANK, EIGHT), name, rollouts=2)
    assert texts(result) == ["", " six\nStep 2:", " plus\n\n", " 8"]
    assert [node.visits for node in result.tree] == [len(result.rollouts)] * 4


@EACH
@pytest.mark.parametrize("longest", [1, 2, 3])
def test_blank_lines_to_the_very_end(name: str, longest: int) -> None:
    result = search(saying(*[BLANK] * 9), name, rollouts=2, max_rollout_tokens=longest)
    assert texts(result) == ["", "\n\n" * longest]
    assert {(rollout.finish_reason, rollout.tokens) for rollout in result.rollouts} == {("length", longest)}


@STEPWISE
def test_samples_that_say_the_same_are_one_node(name: str) -> None:
    """Each sample is paid for and each chain counts, but the tree has one chain, whose state is rated once."""
    rated: list[str] = []

    def value(chain: Any) -> float:
        rated.append(chain.text)
        return 0.5

    world = saying(SIX, BLANK, PLUS, BLANK, EIGHT)
    result = search(world, name, rollouts=1, value=value)
    assert texts(result) == ["", " six\n\n", " plus\n\n", " 8"]
    assert len({rollout.leaf for rollout in result.rollouts}) == 1
    assert len(result.rollouts) == len(world.waves[-1].expansions)
    assert [rated.count(text) for text in (" six\n\n", " six\n\n plus\n\n")] == [1, 1]


@EACH
def test_a_chain_of_given_tokens_does_not_count_as_drawn(name: str) -> None:
    result = search(ToyWorld(hashed_draw(eos_odds=0.1)), name, action="marco-v2", rollouts=4, max_rollout_tokens=60)
    for rollout in result.rollouts:
        assert rollout.tokens <= 60
        chain, drawn = rollout.leaf, 0
        while (parent := result.tree[chain].parent) is not None:
            drawn += sum(confidence is not None for confidence in result.tree[chain].confidences)
            chain = parent
        assert drawn == rollout.tokens


@EACH
def test_a_model_that_ignores_its_prompts_comes_to_an_end(name: str) -> None:
    """An action that stays empty, as neither prompt nor model begins it, leads nowhere new; the next one is tried."""
    think = Kind("think", followers=(("think", 1), ("answer", 1)))
    actions = GuidedActions("mine", (think, Kind("answer", openings=("It is ",))), start=(("think", 2),))
    result = search(saying(), name, action=actions, rollouts=3)
    assert {rollout.text.strip() for rollout in result.rollouts} == {"It is"}


@EACH
def test_settings_are_plain(name: str) -> None:
    settings = STRATEGIES[name](value=max, action="token").settings()
    assert (settings["strategy"], settings["action"], settings["value"]) == (name, "token", "builtins:max")


def test_settings_have_a_later_sampling_parameter_only_if_it_is_set() -> None:
    """These are the fields that results of 0.1 have; another one would keep them from being resumed."""
    first = {
        *("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "stop", "include_stop", "stop_token_ids"),
        *("ignore_eos", "seed", "top_logprobs"),
    }
    assert MCTS().settings()["sampling"].keys() == first
    biased = MCTS(sampling=Sampling(logit_bias={7: -1}, max_tokens=9)).settings()["sampling"]
    assert biased.keys() == first | {"logit_bias"}
    assert biased["logit_bias"] == ((7, -1),)
