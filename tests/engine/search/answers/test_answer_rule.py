"""The answer rules on a small tree that is drawn out below."""

from __future__ import annotations

import pytest
from marcot.engine.completion import FinishReason
from marcot.engine.search.answers import ANSWER_RULES, agreement
from marcot.engine.search.result import Rollout, TreeNode


def rollout(answer: str, value: float, leaf: int, finish_reason: FinishReason = "eos") -> Rollout:
    return Rollout(f"so {answer}", value, answer, 3, finish_reason, leaf)


#        0
#      /   \
#     1     2          1 is visited three times, 2 twice
#    / \   / \
#   3   4 5   6        3 is visited twice
TREE = (
    TreeNode(0, None, "", 5, 0.66, 0),
    TreeNode(1, 0, "a", 3, 0.60, 1),
    TreeNode(2, 0, "b", 2, 0.75, 1),
    TreeNode(3, 1, "c", 2, 0.60, 1),
    TreeNode(4, 1, "d", 1, 0.60, 1),
    TreeNode(5, 2, "e", 1, 0.60, 1),
    TreeNode(6, 2, "f", 1, 0.90, 1),
)
ROLLOUTS = (
    rollout("9", 0.60, 3),
    rollout("9.0", 0.60, 3),
    rollout("8", 0.60, 4),
    rollout("8 clips", 0.65, 5),
    rollout("7", 0.90, 6),
)


@pytest.mark.parametrize(
    ("rule", "leaf"), [("best-rollout", 6), ("most-visits", 3), ("majority", 5), ("confidence-vote", 5)]
)
def test_each_rule_has_its_choice(rule: str, leaf: int) -> None:
    assert ANSWER_RULES[rule](ROLLOUTS, TREE).leaf == leaf


def test_confidence_outvotes_numbers() -> None:
    votes = (rollout("1", 0.2, 3), rollout("1", 0.2, 4), rollout("2", 0.5, 5))
    assert ANSWER_RULES["majority"](votes, TREE).answer == "1"
    assert ANSWER_RULES["confidence-vote"](votes, TREE).answer == "2"


@pytest.mark.parametrize("rule", ["best-rollout", "majority", "confidence-vote"])
@pytest.mark.parametrize("cut", ["length", "cancelled"])
def test_a_chain_that_was_cut_short_counts_only_among_its_like(rule: str, cut: FinishReason) -> None:
    guess = (rollout("1", 0.9, 3, cut), rollout("1", 0.9, 4, cut))
    assert ANSWER_RULES[rule]((*guess, rollout("2", 0.1, 5)), TREE).answer == "2"
    assert ANSWER_RULES[rule](guess, TREE).answer == "1"


@pytest.mark.parametrize("rule", ["best-rollout", "majority", "confidence-vote"])
def test_an_answer_beats_none(rule: str) -> None:
    assert ANSWER_RULES[rule]((rollout("", 0.9, 3), rollout("2", 0.1, 5)), TREE).answer == "2"
    assert ANSWER_RULES[rule]((rollout("", 0.9, 3),), TREE).answer == ""


@pytest.mark.parametrize("rule", ["best-rollout", "majority", "confidence-vote"])
def test_the_first_of_equals_wins(rule: str) -> None:
    assert ANSWER_RULES[rule]((rollout("1", 0.5, 3), rollout("2", 0.5, 4)), TREE).leaf == 3


def test_agreement_is_a_share_of_reward() -> None:
    assert agreement(ROLLOUTS[2], ROLLOUTS) == pytest.approx(1.25 / 3.35)
    assert agreement(ROLLOUTS[0], ROLLOUTS[:2]) == 1.0


def test_chains_without_an_answer_agree_on_nothing() -> None:
    assert agreement(rollout("", 0.9, 3), (rollout("", 0.9, 3), rollout("", 0.8, 4))) == 0.0


def test_agreement_without_any_reward_is_zero() -> None:
    nothing = rollout("", 0.0, 0, "cancelled")
    assert agreement(nothing, (nothing,)) == 0.0
