"""Near duplicates, whose estimated similarity is compared with the exact one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine.dataset.filters.duplicates import (
    HASHES,
    KEY_WORDS,
    SHINGLE,
    Duplicate,
    DuplicateIndex,
    exact_key,
    signature_row,
)

WORDS = [f"word{number}" for number in range(3000)]


def jaccard(one: str, other: str) -> float:
    """Jaccard similarity of the sets of word runs, counted exactly."""
    runs = [
        {tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)}
        for words in (one.split(), other.split())
    ]
    return len(runs[0] & runs[1]) / len(runs[0] | runs[1])


def test_what_makes_no_other_text() -> None:
    assert exact_key("So  it is\n５.") == exact_key("so it is 5.")
    assert exact_key("So it is 5.") != exact_key("So it is 6.")


def test_signatures_estimate_the_similarity() -> None:
    draw = random.Random(0)
    for changes in (0, 2, 5, 12, 40):
        words = draw.sample(WORDS, 200)
        other = list(words)
        for at in draw.sample(range(200), changes):
            other[at] = "changed"
        one, two = " ".join(words), " ".join(other)
        equal = (signature_row(one)[KEY_WORDS:] == signature_row(two)[KEY_WORDS:]).mean()
        # Four standard errors.
        assert equal == pytest.approx(jaccard(one, two), abs=4 * 0.5 / HASHES**0.5)


def test_near_and_exact_duplicates_are_told_apart() -> None:
    draw = random.Random(1)
    texts = [" ".join(draw.sample(WORDS, 100)) for _ in range(300)]
    seen = DuplicateIndex(0.8)
    for text in texts:
        assert seen.find(signature_row(text)) is None
        seen.add(signature_row(text))
    for text in texts:
        assert seen.find(signature_row(text.upper())) is Duplicate.EXACT
        assert seen.find(signature_row(text + " and more")) is Duplicate.NEAR
        assert seen.find(signature_row(" ".join(text.split()[:40] + ["x"] * 60))) is None


def test_above_one_nothing_is_near() -> None:
    seen = DuplicateIndex(1.1)
    seen.add(signature_row("a b c d e f, g"))
    assert seen.find(signature_row("a b c d e f g!")) is None


@given(st.lists(st.text("ab ", max_size=12), max_size=40))
def test_exact_duplicates_are_those_of_a_set(texts: list[str]) -> None:
    seen = DuplicateIndex(1.1)
    known: set[str] = set()
    for text in texts:
        normal = " ".join(text.split())
        assert (seen.find(signature_row(text)) is Duplicate.EXACT) == (normal in known)
        if normal not in known:
            known.add(normal)
            seen.add(signature_row(text))
