"""Pairs of a chosen and a rejected trace."""

from __future__ import annotations

from itertools import takewhile

from hypothesis import given
from hypothesis import strategies as st
from marcot.engine.dataset import DatasetOptions, ReasoningTrace
from marcot.engine.dataset.filters.shared_prefix import shared_length
from marcot.engine.dataset.preference import preferences


def trace(text: str, answer: str, value: float | None = None, correct: bool | None = None) -> ReasoningTrace:
    return ReasoningTrace("q", text, answer, value=value, correct=correct)


def test_a_reference_decides_against_the_value() -> None:
    right, wrong = trace("It is 5", "5", 0.1, True), trace("It is 6", "6", 0.9, False)
    (pair,) = preferences([right], [wrong, right], DatasetOptions())
    assert pair == (right, wrong, "reference")


def test_without_a_reference_the_value_decides_by_a_margin_and_only_between_answers() -> None:
    best, same, worse = trace("It is 5", "5", 0.9), trace("I say 5.0", "5.0", 0.2), trace("It is 6", "6", 0.7)
    everything = [best, same, worse]
    assert preferences(everything, everything, DatasetOptions(margin=0.1)) == [
        (best, worse, "value"),
        (worse, same, "value"),
    ]
    assert preferences(everything, everything, DatasetOptions(margin=0.3)) == [(worse, same, "value")]


def test_those_that_part_latest_come_first() -> None:
    right = trace("First a, then b, so c", "c", 0.5, True)
    early, late = trace("Or not", "n", 0.5, False), trace("First a, then b, so d", "d", 0.5, False)
    middle = trace("First x", "x", 0.5, False)
    pairs = preferences([right], [early, late, middle], DatasetOptions())
    assert [pair.rejected for pair in pairs] == [late, middle]
    assert preferences([right], [early], DatasetOptions(min_shared=0)) == [(right, early, "reference")]


texts = st.text("ab", min_size=1, max_size=5)


@given(st.lists(st.tuples(texts, st.sampled_from("12"), st.floats(0, 1), st.booleans()), max_size=8), st.integers(1, 5))
def test_pairs_keep_their_promises(rows: list[tuple[str, str, float, bool]], most: int) -> None:
    traces = [trace(*row) for row in rows]
    good = [each for each in traces if each.correct]
    pairs = preferences(good, traces, DatasetOptions(pairs_per_question=most))
    assert len(pairs) <= most
    for pair in pairs:
        assert pair.chosen.correct
        assert not pair.rejected.correct
        assert pair.chosen.text[0] == pair.rejected.text[0]
    rejected = [id(pair.rejected) for pair in pairs]
    assert len(set(rejected)) == len(rejected)


@given(st.text("ab"), st.text("ab"))
def test_shared_length(one: str, other: str) -> None:
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))
    assert shared_length(one, other) == shared
    assert shared_length(list(map(ord, one)), list(map(ord, other))) == shared
