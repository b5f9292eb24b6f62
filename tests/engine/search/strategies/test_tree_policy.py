"""The formula of UCT."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine.search.strategies.tree_policy import uct


def test_an_unvisited_child_comes_first() -> None:
    assert uct(0.0, 0, 5, 1.414) == math.inf


@given(st.floats(0, 50), st.integers(1, 50), st.integers(0, 500), st.floats(0, 10))
def test_it_is_the_formula(total: float, visits: int, others: int, exploration: float) -> None:
    parent = visits + others
    bound = total / visits + exploration * (2 * math.log(parent) / visits) ** 0.5
    assert uct(total, visits, parent, exploration) == pytest.approx(bound)


def test_an_only_child_has_no_bonus_until_its_parent_is_visited_again() -> None:
    assert uct(0.7, 1, 1, 1.414) == 0.7
    assert uct(0.7, 1, 2, 1.414) > 0.7
