"""Several different answers to one question."""

from __future__ import annotations

import pytest
from marcot.engine.completion import FinishReason
from marcot.engine.search import Rollout, solutions


def rollout(answer: str, value: float, finish_reason: FinishReason = "eos") -> Rollout:
    return Rollout(f"so {answer}", value, answer, 3, finish_reason, 1)


def test_chains_with_the_same_answer_are_one_solution() -> None:
    found = solutions([rollout("8", 0.5), rollout("9", 0.75), rollout("8.0", 0.75)], 5)
    assert [(each.answer, each.rollouts, each.value) for each in found] == [("8.0", 2, 0.75), ("9", 1, 0.75)]
    assert [each.confidence for each in found] == pytest.approx([1.25 / 2, 0.75 / 2])


def test_no_more_than_asked_for() -> None:
    assert [each.answer for each in solutions([rollout("1", 0.2), rollout("2", 0.4), rollout("3", 0.3)], 2)] == [
        "2",
        "3",
    ]
    assert solutions([rollout("1", 0.2)], 0) == []


def test_texts_that_say_almost_the_same_are_one() -> None:
    said = "the sole of this shoe is very comfortable to walk on"
    found = solutions([rollout(said, 0.9), rollout(said + " indeed", 0.8), rollout("a shoe like a cloud", 0.7)], 3)
    assert [each.answer for each in found] == [said, "a shoe like a cloud"]
    said = "这双鞋的鞋底踩上去非常舒服"
    assert len(solutions([rollout(said, 0.9), rollout(said + "！", 0.8)], 3)) == 1


def test_chains_that_were_cut_short_count_only_among_their_like() -> None:
    cut = rollout("1", 0.9, "length")
    assert [each.answer for each in solutions([cut, rollout("2", 0.1)], 3)] == ["2"]
    assert [each.answer for each in solutions([cut], 3)] == ["1"]
