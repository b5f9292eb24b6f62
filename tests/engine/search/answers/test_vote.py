"""Votes against brute force; and a vote that counts as decided cannot change any more."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine.errors import InputError
from marcot.engine.search import extract_answer
from marcot.engine.search.answers import ANSWER_RULES, Ballot, Vote, agreement, answers_agree, resolve_answer_parser
from marcot.engine.search.result import Rollout, TreeNode

VOTES = pytest.mark.parametrize("rule", ["majority", "confidence-vote"])


def rollout(answer: str, value: float, complete: bool = True, leaf: int = 0) -> Rollout:
    return Rollout(f"so {answer}", value, answer, 3, "eos" if complete else "length", leaf)


def vote(rule: str) -> Vote:
    found = ANSWER_RULES[rule]
    assert isinstance(found, Vote)
    return found


def counted(rollouts: Sequence[Rollout], rule: str = "majority") -> Ballot:
    ballot = Ballot(vote(rule))
    for each in rollouts:
        ballot.add(each)
    return ballot


def is_decided(rule: str, rollouts: Sequence[Rollout], left: int) -> bool:
    return counted(rollouts, rule).is_decided(left)


PAST = [rollout(answer, value, complete) for answer in "ab" for value in (0.4, 1.0) for complete in (True, False)]
FUTURE = [rollout(answer, value, complete) for answer in "abc" for value in (0.0, 1.0) for complete in (True, False)]


@VOTES
@pytest.mark.parametrize("left", [0, 1, 2])
def test_nothing_that_may_come_changes_a_decided_vote(rule: str, left: int) -> None:
    decided = 0
    for size in range(5):
        for past in itertools.product(PAST, repeat=size):
            if not is_decided(rule, past, left):
                continue
            decided += 1
            answer = vote(rule)(past, ()).answer
            for future in itertools.product(FUTURE, repeat=left):
                assert vote(rule)((*past, *future), ()).answer == answer
    assert decided > 10


@VOTES
@pytest.mark.parametrize("left", [1, 2, 3])
def test_a_vote_that_is_not_decided_can_change_or_end_in_a_tie(rule: str, left: int) -> None:
    for size in range(1, 4):
        for past in itertools.product([each for each in PAST if each.complete], repeat=size):
            if is_decided(rule, past, left):
                continue
            camps = {key: sum(map(vote(rule).weight, (each for each in past if each.answer == key))) for key in "abc"}
            first, second, _ = sorted(camps.values(), reverse=True)
            assert first <= second + left


@VOTES
def test_nothing_is_decided_while_no_chain_has_an_answer(rule: str) -> None:
    assert not is_decided(rule, [], 0)
    assert not is_decided(rule, [rollout("", 1.0), rollout("a", 1.0, complete=False)], 0)


SAME = {"": "", "8": "8", "8.0": "8", "$8": "8", "9": "9", "NINE": "nine", "nine.": "nine"}
CHAINS = st.builds(rollout, st.sampled_from(list(SAME)), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.booleans())


@given(st.lists(CHAINS, max_size=30), st.integers(0, 5))
def test_a_ballot_counts_as_counting_everything_again_does(rollouts: list[Rollout], left: int) -> None:
    ballot = counted(rollouts, "confidence-vote")
    best = max(rollouts, key=lambda each: each.value, default=None)
    given_answers = Counter(SAME[each.answer] for each in rollouts if each.answer)
    voters = [each for each in rollouts if each.answer and each.complete]
    first, second, *_ = [count for _, count in Counter(SAME[each.answer] for each in voters).most_common(2)] + [0, 0]
    assert ballot.best is best
    assert ballot.for_best == (given_answers[SAME[best.answer] if best else ""], given_answers.total())
    assert ballot.margin == first - second
    sums = [sum(each.value for each in voters if SAME[each.answer] == key) for key in {*SAME.values()}]
    *_, lower, upper = sorted(sums)
    assert ballot.is_decided(left) == (upper > lower + left)


ROLLOUTS = st.lists(CHAINS, min_size=1, max_size=8)


@VOTES
@given(ROLLOUTS)
def test_a_vote_by_brute_force(rule: str, rollouts: list[Rollout]) -> None:
    able = [each for each in rollouts if each.complete and each.answer] or rollouts
    votes = {
        key: sum(each.value if rule == "confidence-vote" else 1 for each in able if SAME[each.answer] == key)
        for key in SAME.values()
    }
    chosen = ANSWER_RULES[rule](rollouts, ())
    assert chosen in able
    camp = [each.value for each in able if SAME[each.answer] == SAME[chosen.answer]]
    assert chosen.value == max(camp)
    assert votes[SAME[chosen.answer]] == max(votes.values())
    rivals = [each.value for each in able if votes[SAME[each.answer]] == max(votes.values())]
    assert chosen.value == max(rivals)


@given(ROLLOUTS)
def test_agreement_is_the_chosen_answer_s_share_of_all_value(rollouts: list[Rollout]) -> None:
    for chosen in rollouts:
        agreeing = sum(each.value for each in rollouts if each.answer and SAME[each.answer] == SAME[chosen.answer])
        total = sum(each.value for each in rollouts)
        assert agreement(chosen, rollouts) == (agreeing / total if total else 0.0)


def test_the_best_value_is_that_of_a_path_and_the_best_rollout_that_of_a_chain() -> None:
    """The best chain may lie below a state whose other chains are poor."""
    tree = (
        TreeNode(0, None, "", 3, 1.7 / 3, 0),
        TreeNode(1, 0, "a", 2, 0.5, 1),
        TreeNode(2, 0, "b", 1, 0.7, 1),
        TreeNode(3, 1, "c", 1, 0.9, 1),
        TreeNode(4, 1, "d", 1, 0.1, 1),
        TreeNode(5, 0, "given up", 0, 0.95, 1),
    )
    rollouts = (rollout("1", 0.9, leaf=3), rollout("2", 0.1, leaf=4), rollout("3", 0.7, leaf=2))
    assert ANSWER_RULES["best-rollout"](rollouts, tree).answer == "1"
    assert ANSWER_RULES["best-value"](rollouts, tree).answer == "3"
    assert ANSWER_RULES["most-visits"](rollouts, tree).answer == "1"


@pytest.mark.parametrize(
    ("choice", "text", "answer"),
    [
        (r"\d+", "8 or 9", "9"),
        (r"= (\d+)", "3 = 3, 4 = 4; 5", "4"),
        (r"(\w+) beats (\w+)", "rock beats scissors", "rock"),
        (r"\d+", "none", ""),
        (r"x(\d)?", "x1 x", ""),
        (r"<a>(.*?)</a>", "<a> over\nlines </a>", "over\nlines"),
        ("text", "  all of it\n", "all of it"),
        ("auto", "so \\boxed{8}.", "8"),
    ],
)
def test_parsers(choice: str, text: str, answer: str) -> None:
    assert resolve_answer_parser(choice)(text) == answer


@given(st.text(max_size=60))
def test_auto_is_extract_answer(text: str) -> None:
    assert resolve_answer_parser("auto")(text) == extract_answer(text)


def test_a_user_s_own_parser() -> None:
    assert resolve_answer_parser(str.upper)("so") == "SO"


def test_a_broken_pattern_is_refused() -> None:
    with pytest.raises(InputError, match=r"answer_from '\('"):
        resolve_answer_parser("(")


def test_answers_agree_with_the_answer_of_a_reference() -> None:
    assert answers_agree("$8.00", "First 3, then 5: 3 + 5 = 8\n#### 8")
    assert not answers_agree("3", "First 3, then 5: 3 + 5 = 8\n#### 8")
