"""Wilson's interval."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine.evaluation import wilson
from marcot.engine.evaluation.interval import Z_95


def solve(right: int, count: int, low: float, high: float) -> float:
    """The share between `low` and `high` from which the observed one is exactly Z_95 standard errors away."""

    def excess(share: float) -> float:
        return abs(right / count - share) - Z_95 * math.sqrt(share * (1 - share) / count)

    inside, outside = (high, low) if excess(low) > 0 else (low, high)
    for _ in range(200):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if excess(middle) <= 0 else (inside, middle)
    return inside


@given(st.integers(1, 400).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_its_ends_are_where_the_score_test_just_accepts(case: tuple[int, int]) -> None:
    right, count = case
    share = right / count
    low, high = wilson(right, count)
    assert low == pytest.approx(solve(right, count, 1e-12, share) if right else 0.0, abs=1e-6)
    assert high == pytest.approx(solve(right, count, share, 1 - 1e-12) if right < count else 1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)],
)
def test_known_values(right: int, count: int, low: float, high: float) -> None:
    assert wilson(right, count) == pytest.approx((low, high), abs=1e-4)
