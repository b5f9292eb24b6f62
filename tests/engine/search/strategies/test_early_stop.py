"""Searches that end before their budgets, because the answer is stable or cannot change any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from marcot.engine.search import STRATEGIES, SearchResult
from support.searches.toy_world import EOS, WORDS, ToyWorld, scripted_draw

CHAINS = pytest.mark.parametrize("name", ["best-of-n", "self-consistency", "mcts"])
EIGHT, NINE = WORDS.index(" 8"), WORDS.index(" 9")


def answers(*numbers: int) -> ToyWorld:
    """A world whose chains say these numbers, one after the other. Every chain has the value 0.5."""
    return ToyWorld(scripted_draw(*[[number, EOS] for number in numbers]))


def search(world: ToyWorld, name: str, **options: Any) -> SearchResult:
    return world.run(STRATEGIES[name](**{"parallel": 1, "answer_rule": "majority", "vote_margin": 0} | options))


@CHAINS
@pytest.mark.parametrize(
    ("numbers", "window", "needed"),
    [
        ([EIGHT], 1, 2),
        ([EIGHT], 3, 4),
        ([EIGHT, NINE, NINE, NINE, NINE], 2, 5),
        ([EIGHT, NINE], 20, 10),
        ([EIGHT], None, 10),
    ],
)
def test_a_window_without_change_ends_the_search(
    name: str, numbers: Sequence[int], window: int | None, needed: int
) -> None:
    """8, then 8 (a tie), then 9: the answer changes with the third chain, and two more confirm it."""
    result = search(answers(*numbers), name, convergence_window=window, rollouts=10)
    assert len(result.rollouts) == needed


@CHAINS
@pytest.mark.parametrize("rule", ["best-rollout", "most-visits", "best-value"])
def test_a_window_with_rules_that_look_at_the_tree(name: str, rule: str) -> None:
    assert len(search(answers(EIGHT), name, answer_rule=rule, convergence_window=2, rollouts=10).rollouts) == 3


@CHAINS
@pytest.mark.parametrize(("rule", "needed"), [("majority", 6), ("confidence-vote", 7), ("best-rollout", 10)])
def test_a_decided_vote_ends_the_search(name: str, rule: str, needed: int) -> None:
    """Of 10 chains, 6 votes for 8 cannot be overtaken by 4, nor 7 of half weight by 3. The last rollout may always be
    the best.
    """
    result = search(answers(EIGHT), name, answer_rule=rule, stop_decided=True, rollouts=10)
    assert len(result.rollouts) == needed


@CHAINS
def test_stopping_early_does_not_change_the_answer(name: str) -> None:
    for numbers in ([EIGHT, NINE, NINE], [NINE, NINE, EIGHT], [EIGHT, EIGHT, EIGHT, NINE]):
        full = search(answers(*numbers), name, rollouts=9)
        short = search(answers(*numbers), name, rollouts=9, stop_decided=True)
        assert short.answer == full.answer
        assert short.rollouts == full.rollouts[: len(short.rollouts)]
        assert len(short.rollouts) < 9


def test_without_a_number_of_rollouts_nothing_is_decided() -> None:
    result = search(answers(EIGHT), "self-consistency", rollouts=None, max_tokens=20, stop_decided=True)
    assert len(result.rollouts) == 10


@CHAINS
@pytest.mark.parametrize(
    ("numbers", "margin", "needed"),
    [
        ([EIGHT], 1, 1),
        ([EIGHT], 2, 2),
        ([EIGHT], 3, 3),
        ([EIGHT, NINE, NINE, NINE], 2, 4),
        ([EIGHT, NINE, EIGHT, NINE, EIGHT, EIGHT], 2, 6),
        ([EIGHT, NINE, NINE, NINE, NINE], 3, 5),
        ([EIGHT], 0, 10),
        ([EIGHT], 20, 10),
    ],
)
def test_a_vote_margin_ends_the_search(name: str, numbers: Sequence[int], margin: int, needed: int) -> None:
    """The leading answer, whichever it is, needs `margin` chains more than the next one."""
    result = search(answers(*numbers), name, vote_margin=margin, rollouts=10)
    assert len(result.rollouts) == needed


@CHAINS
def test_a_vote_margin_does_not_apply_where_no_chains_vote(name: str) -> None:
    assert len(search(answers(EIGHT), name, answer_rule="best-rollout", vote_margin=1, rollouts=6).rollouts) == 6


@CHAINS
def test_chains_without_an_answer_or_an_end_give_no_vote_margin(name: str) -> None:
    world = ToyWorld(scripted_draw([EIGHT] * 40, [EOS], [EIGHT, EOS]))
    assert [rollout.answer for rollout in search(world, name, vote_margin=1, max_rollout_tokens=5).rollouts][-1:] == [
        "8"
    ]


@CHAINS
@pytest.mark.parametrize("parallel", [1, 2, 3, 8])
def test_no_chain_in_flight_can_turn_out_to_be_needless(name: str, parallel: int) -> None:
    """At least two chains are needed, and two more if those disagree. However wide the search, no chain is drawn in
    vain.
    """
    agreed = search(answers(EIGHT), name, vote_margin=2, parallel=parallel, rollouts=10)
    assert len(agreed.rollouts) == 2
    contested = search(answers(EIGHT, NINE, NINE, NINE), name, vote_margin=2, parallel=parallel, rollouts=10)
    assert len(contested.rollouts) == 4


def test_only_the_default_search_stops_by_its_vote_margin() -> None:
    assert {name for name, strategy in STRATEGIES.items() if strategy().vote_margin} == {"mcts"}
