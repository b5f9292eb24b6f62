"""The answer of a search at every smaller cost."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine.evaluation import Trial
from marcot.engine.evaluation.anytime import Anytime, budgets_up_to, limit_for, point
from marcot.engine.search import DVTS, MCTS, REBASE, Beam, BestOfN, Greedy, SelfConsistency
from marcot.engine.search.answers import ANSWER_RULES
from support.searches.toy_world import hashed_draw
from support.searches.trials import searched, trial

STRATEGIES = [
    MCTS(action="mini-step-3", rollouts=9, max_rollout_tokens=20),
    BestOfN(rollouts=6, max_rollout_tokens=20),
    SelfConsistency(rollouts=6, max_rollout_tokens=20),
    Beam(action="mini-step-3", beams=2, samples=3, rollouts=6, max_rollout_tokens=20),
    DVTS(action="mini-step-3", subtrees=2, samples=2, rollouts=6, max_rollout_tokens=20),
    REBASE(action="mini-step-3", samples=5, rollouts=6, max_rollout_tokens=20),
    Greedy(max_rollout_tokens=20),
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("odds", [0.05, 0.3])
def test_at_its_full_cost_a_search_has_its_final_answer(strategy: object, odds: float) -> None:
    result = searched(strategy, hashed_draw(eos_odds=odds))
    found = Trial.of(0, "toy:1", result.answer, result, 1.0)
    standing = Anytime(found, strategy.answer_rule).at(found.tokens)
    assert standing == (True, True, found.tokens)
    rollouts, tree = found.after(found.tokens)
    assert [rollout.answer for rollout in rollouts] == [rollout.answer for rollout in result.rollouts]
    seen = [node for node in result.tree if node.visits]
    assert [node.visits for node in tree] == [node.visits for node in seen]
    assert [node.value for node in tree] == pytest.approx([node.value for node in seen])
    places = {node.id: place for place, node in enumerate(seen)}
    assert [node.parent for node in tree] == [None if node.parent is None else places[node.parent] for node in seen]


@pytest.mark.parametrize("rule", ANSWER_RULES)
def test_after_some_rollouts_it_has_the_answer_of_a_search_with_as_many(rule: str) -> None:
    whole = MCTS(
        action="mini-step-3",
        rollouts=12,
        max_rollout_tokens=20,
        parallel=1,
        answer_rule=rule,
        exploration=0.3,
        vote_margin=0,
    )
    long = searched(whole)
    for count in range(1, 13):
        short = searched(dataclasses.replace(whole, rollouts=count))
        found = Trial.of(0, "toy:1", short.answer, long, 1.0)
        budget = long.rollouts[count - 1].spent
        assert Anytime(found, rule).at(budget).right == bool(short.answer)
        rollouts, tree = found.after(budget)
        assert [rollout.leaf for rollout in rollouts] == [rollout.leaf for rollout in short.rollouts]
        assert [(node.id, node.parent, node.visits) for node in tree] == [
            (node.id, node.parent, node.visits) for node in short.tree
        ]
        assert [node.value for node in tree] == pytest.approx([node.value for node in short.tree])


@st.composite
def made(draw: st.DrawFn) -> Trial:
    answers = draw(st.lists(st.sampled_from("123"), min_size=1, max_size=7))
    costs = sorted(draw(st.lists(st.integers(1, 60), min_size=len(answers), max_size=len(answers))))
    return trial(0, answers, "1", costs)


@given(st.lists(made(), min_size=1, max_size=6), st.integers(0, 70))
def test_the_curve_is_the_vote_of_the_rollouts_by_then(trials: list[Trial], budget: int) -> None:
    right = any_right = 0
    for each in trials:
        by_then = [rollout.answer for rollout in each.rollouts if rollout.spent <= budget]
        # All values are equal, so the first of equally frequent answers wins.
        chosen = Counter(by_then).most_common(1)
        right += bool(chosen) and chosen[0][0] == "1"
        any_right += "1" in by_then
    found = point([Anytime(each, "majority") for each in trials], budget, budget)
    assert (found.right, found.any_right, found.questions) == (right, any_right, len(trials))
    assert found.spent == pytest.approx(sum(min(budget, each.tokens) for each in trials) / len(trials))


def test_before_its_first_rollout_a_search_has_no_answer() -> None:
    run = Anytime(trial(0, ["1", "2"], spent=[30, 40]), "majority")
    assert run.at(29) == (False, False, 29)
    assert run.at(30) == (True, True, 30)
    assert run.at(1000).spent == 40


def test_budgets_are_spread_evenly_and_end_at_the_largest() -> None:
    budgets = budgets_up_to(2048)
    assert (budgets[0], budgets[-1], len(budgets)) == (64, 2048, 21)
    assert budgets[::4] == [64, 128, 256, 512, 1024, 2048]
    assert budgets_up_to(1) == [1]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(1, 70))
def test_the_limit_is_the_largest_that_keeps_to_the_budget_on_average(costs: list[int], budget: int) -> None:
    def mean(limit: int) -> float:
        return sum(min(cost, limit) for cost in costs) / len(costs)

    limit = limit_for(costs, budget)
    assert mean(limit) <= budget
    assert mean(limit + 1) > budget or limit == max(costs)


def test_tokens_saved_by_short_searches_are_left_for_long_ones() -> None:
    """Two questions cost 10 tokens and one 100, which is 40 on average. For an average of 30 the third may cost 70."""
    assert limit_for([10, 10, 100], 30) == 70
    assert limit_for([10, 10, 100], 40) == 100
    assert limit_for([100, 100, 100], 30) == 30
