"""Actions of given kinds, which the model is prompted for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from marcot.engine import Sampling
from marcot.engine.errors import InputError
from marcot.engine.search import MCTS, Beam, SearchResult
from marcot.engine.search.actions import MARCO_V2, GuidedActions, Kind
from support.searches.toy_world import EOS, ToyWorld, hashed_draw

PLAN = Kind("plan", openings=("PLAN ", "IDEA "), close=("\n\n",), followers=(("work", 2), ("end", 1)), max_tokens=8)
WORK = Kind("work", openings=("WORK ",), tags=("<w>", "</w>"), followers=(("end", 1),), max_tokens=5)
END = Kind("end", openings=("SO ",), close=("\n\n",), max_tokens=3)
AGAIN = Kind("again", openings=("NO ",), followers=(("end", 1),), max_tokens=4)


def actions(*, back_off: int = 0, longest: int = 6) -> GuidedActions:
    return GuidedActions(
        "toy",
        (PLAN, WORK, END, AGAIN),
        (("plan", 2), ("work", 1)),
        back_off=back_off,
        retry="again",
        longest=longest,
    )


def kinds(result: SearchResult, leaf: int) -> list[str]:
    found = []
    at: int | None = leaf
    while at:
        found.append(result.tree[at].kind)
        at = result.tree[at].parent
    return found[::-1]


def test_every_action_begins_with_a_prompt_of_its_kind() -> None:
    result = ToyWorld(hashed_draw()).run(MCTS(vote_margin=0, rollouts=30, action=actions(), max_rollout_tokens=60))
    beginnings = {"plan": ("PLAN ", "IDEA "), "work": ("<w>\nWORK ",), "end": ("SO ",)}
    seen = set()
    for node in result.tree[1:]:
        assert node.text.lstrip("\n").startswith(beginnings[node.kind])
        seen.add(node.kind)
    assert seen == set(beginnings)


def test_only_declared_followers_follow() -> None:
    result = ToyWorld(hashed_draw()).run(MCTS(vote_margin=0, rollouts=40, action=actions(), max_rollout_tokens=60))
    followers = {"plan": {"work", "end"}, "work": {"end"}, "end": set()}
    for node in result.tree[1:]:
        above = result.tree[node.parent or 0]
        assert node.kind in (followers[above.kind] if above.id else {"plan", "work"})


def test_a_state_has_as_many_children_of_each_kind_as_declared() -> None:
    result = ToyWorld(hashed_draw()).run(
        MCTS(vote_margin=0, rollouts=7, action=actions(), max_rollout_tokens=60, parallel=1)
    )
    below = [node.kind for node in result.tree if node.parent == 0]
    assert sorted(below) == ["plan", "plan", "work"]
    opened = [node.text.lstrip("\n")[:4] for node in result.tree if node.parent == 0 and node.kind == "plan"]
    assert sorted(opened) == ["IDEA", "PLAN"], "the second child takes the second prompt"
    for node in result.tree[1:]:
        if node.kind == "plan" and node.visits >= 3:
            assert sorted(each.kind for each in result.tree if each.parent == node.id) == ["end", "work", "work"]


def test_prompts_are_given_and_have_no_part_in_the_value() -> None:
    result = ToyWorld(hashed_draw()).run(MCTS(vote_margin=0, rollouts=9, action=actions(), max_rollout_tokens=60))
    for rollout in result.rollouts:
        chain = []
        at: int | None = rollout.leaf
        while at is not None:
            chain.append(result.tree[at])
            at = result.tree[at].parent
        drawn = [each for node in chain[::-1] for each in node.confidences if each is not None]
        assert len(drawn) == rollout.tokens < sum(node.tokens for node in chain)
        assert rollout.value == pytest.approx(sum(drawn) / len(drawn))


def test_a_chain_ends_with_a_final_kind_at_its_greatest_length() -> None:
    circle = GuidedActions(
        "circle", (Kind("turn", followers=(("turn", 1),), max_tokens=2), END), (("turn", 1),), longest=5
    )
    world = ToyWorld(lambda path, sample, position: (1, 0.5))
    [rollout] = (result := world.run(MCTS(rollouts=1, action=circle))).rollouts
    assert kinds(result, rollout.leaf) == ["turn"] * 4 + ["end"]
    assert rollout.finish_reason == "stop"


def test_a_chain_goes_on_where_the_model_would_have_ended_it() -> None:
    world = ToyWorld(lambda path, sample, position: (EOS if position == 2 else 1, 0.5))
    result = world.run(MCTS(vote_margin=0, rollouts=3, action=actions(), parallel=1))
    for rollout in result.rollouts:
        assert kinds(result, rollout.leaf)[-1] == "end"
        assert len(kinds(result, rollout.leaf)) > 1
        assert rollout.finish_reason == "eos"
    assert all(EOS not in node.token_ids for node in result.tree if node.kind != "end")


def test_a_stop_string_in_a_prompt_does_not_end_the_chain() -> None:
    world = ToyWorld(lambda path, sample, position: (3 if position == 0 else 7, 0.5))  # " two" and a blank line
    stop = ("PLAN ", "IDEA ", "WORK ")
    result = world.run(MCTS(vote_margin=0, rollouts=4, action=actions(), sampling=Sampling(stop=stop), parallel=1))
    assert [kinds(result, rollout.leaf)[-1] for rollout in result.rollouts] == ["end"] * 4


@pytest.mark.parametrize("reference", ["nothing like it", None], ids=["wrong", "unknown"])
def test_after_a_wrong_answer_some_actions_are_taken_back(reference: str | None) -> None:
    world = ToyWorld(hashed_draw(eos_odds=0.0))
    result = world.run(
        MCTS(vote_margin=0, rollouts=30, action=actions(back_off=1), max_rollout_tokens=90, parallel=1), reference
    )
    retried = [node for node in result.tree if node.kind == "again"]
    assert bool(retried) == (reference is not None)
    for node in retried:
        siblings = [each.kind for each in result.tree if each.parent == node.parent]
        assert "end" in siblings, "it begins where the wrong answer began"
    assert all(kinds(result, rollout.leaf).count("again") <= 1 for rollout in result.rollouts)


def test_strategies_of_single_actions_can_be_guided() -> None:
    result = ToyWorld(hashed_draw()).run(Beam(rollouts=4, beams=2, samples=3, action=actions(), max_rollout_tokens=60))
    assert {node.kind for node in result.tree[1:]} == {"plan", "work", "end"}
    assert [node.kind for node in result.tree if node.parent == 0].count("plan") == 4


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"start": (("leap", 1),)}, "start is followed by 'leap', which is not declared"),
        ({"start": (("end", 0),)}, "start: children 'end'=0: must be an integer >= 1"),
        ({"start": ()}, "name at least one under start"),
        ({"kinds": (PLAN, PLAN, WORK, END)}, "declare every kind once"),
        ({"kinds": (Kind("turn", followers=(("turn", 1),)),), "start": (("turn", 1),)}, "must have no followers"),
        ({"back_off": 1, "retry": "leap"}, "back_off=1 needs a declared kind as retry"),
    ],
    ids=["unknown", "no-children", "nothing-first", "twice", "endless", "retry"],
)
def test_a_tree_that_makes_no_sense_is_refused(declared: dict[str, object], message: str) -> None:
    kinds: Sequence[Kind] = (PLAN, WORK, END)
    with pytest.raises(InputError, match=message):
        GuidedActions("toy", **({"kinds": kinds, "start": (("plan", 1),)} | declared))  # type: ignore[arg-type]


def test_marco_v2_has_the_kinds_of_the_paper() -> None:
    result = ToyWorld(hashed_draw()).run(
        MCTS(rollouts=60, action=MARCO_V2, max_rollout_tokens=400, vote_margin=0), "none"
    )
    seen = {node.kind for node in result.tree[1:]}
    assert seen == {"sub-task", "thinking", "double-check", "reflection", "hypothesis", "answer"}
