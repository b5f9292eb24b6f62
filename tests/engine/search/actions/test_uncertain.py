"""Cuts before the least certain tokens."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine.search import MCTS
from marcot.engine.search.actions import Uncertain
from support.searches.toy_world import ToyWorld, hashed_draw


def cut(confidences: list[float], forks: int) -> list[int]:
    return Uncertain(forks).cut(list(range(len(confidences))), lambda ids: "", np.asarray(confidences, np.float32))


def test_forks_come_before_the_least_certain_tokens() -> None:
    sure = [0.99] * 12
    sure[5], sure[10] = 0.4, 0.3
    assert cut(sure, 1) == [10, 12]
    assert cut(sure, 2) == [5, 10, 12]
    assert cut(sure, 9) == [5, 10, 12], "a token that the model was sure of is no place for a fork"


def test_hesitations_in_a_cluster_are_one_fork() -> None:
    sure = [0.99] * 12
    sure[4], sure[5], sure[6] = 0.5, 0.3, 0.4
    assert cut(sure, 3) == [5, 12]


def test_nothing_is_cut_before_the_first_token() -> None:
    assert cut([0.1, 0.99, 0.99, 0.99, 0.99], 2) == [5]
    assert cut([], 2) == []


@given(confidences=st.lists(st.floats(0.25, 1.0, width=32), max_size=60), forks=st.integers(1, 9))
def test_cuts_are_in_order_and_end_at_the_end(confidences: list[float], forks: int) -> None:
    ends = cut(confidences, forks)
    assert ends == sorted(set(ends))
    assert len(ends) <= forks + 1
    assert ends[-1:] == ([len(confidences)] if confidences else [])
    assert all(late - early >= 4 for early, late in pairwise(ends[:-1]))


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_search_goes_on_from_where_the_model_hesitated(parallel: int) -> None:
    result = ToyWorld(hashed_draw()).run(
        MCTS(rollouts=12, action="uncertain-4", max_rollout_tokens=40, parallel=parallel, width=2)
    )
    eldest = {node.parent: node for node in reversed(result.tree) if node.parent}
    assert len(eldest) > 12, "of each parent, the child that was drawn together with it"
    assert all(node.confidences[0] < 0.95 for node in eldest.values())
