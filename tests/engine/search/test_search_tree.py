"""The search tree and its tree policy, node by node."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine.search.rollout.branch_prefix import BranchPrefix
from marcot.engine.search.rollout.node_content import NodeContent
from marcot.engine.search.rollout.token_stats import TokenStats
from marcot.engine.search.search_tree import SearchNode, SearchTree
from marcot.engine.search.strategies.tree_policy import TreePolicy

NOWHERE: Any = None


def content(*token_ids: int) -> NodeContent:
    text = "".join(map(str, token_ids))
    numbers = np.full(len(token_ids), 0.5, np.float32)
    stats = TokenStats(numbers, np.log(numbers), np.log(numbers)[:, None])
    return NodeContent(token_ids, text, "step", len(token_ids), stats, BranchPrefix(NOWHERE, 0))


class Grown(SearchTree):
    """A tree with a selection rule of its own."""

    def __init__(self, width: int, max_depth: int) -> None:
        super().__init__(content(), max_depth)
        self.policy = TreePolicy(self.root, lambda node: width, exploration=1.0)
        self.select, self.remove_virtual_loss = self.policy.select, self.policy.remove_virtual_loss


def tree(*, width: int = 2, max_depth: int = 8) -> Grown:
    return Grown(width, max_depth)


def rollout(
    grown: Grown, fork: SearchNode, *contents: NodeContent, value: float = 0.5, max_new: int = 99
) -> SearchNode:
    leaf = grown.insert(fork, contents, max_new)
    grown.backup(leaf, value)
    grown.policy.mark_exhausted(leaf)
    return leaf


def check(grown: Grown) -> None:
    """Check a tree: a node's visits and values are the sums over its children."""
    for node in grown.nodes:
        assert node.visits > 0
        assert node.pending == 0
        assert grown.nodes[node.id] is node
        assert (not node.children) == node.terminal
        if node.children:
            assert node.visits == sum(child.visits for child in node.children)
            assert node.total == pytest.approx(sum(child.total for child in node.children))
            keys = [(child.content.token_ids, child.terminal) for child in node.children]
            assert len(set(keys)) == len(keys)
        for child in node.children:
            assert child.parent is node
            assert child.id > node.id
            assert child.depth == node.depth + 1
            assert child.drawn == node.drawn + child.content.drawn


def test_the_first_rollout_becomes_a_chain_of_nodes() -> None:
    grown = tree()
    leaf = rollout(grown, grown.root, content(1), content(2, 3), content(4), value=0.25)
    assert [node.content.text for node in leaf.chain] == ["4", "23", "1", ""]
    assert [(node.visits, node.value) for node in grown.export()] == [(1, 0.25)] * 4
    assert [node.terminal for node in grown.nodes] == [False, False, False, True]
    assert leaf.drawn == 4
    assert grown.export()[2].confidences == (0.5, 0.5)


def test_width_continuations_are_sampled_before_uct_chooses() -> None:
    grown = tree(width=3)
    for token in (1, 2, 3):
        assert grown.select() is grown.root
        grown.remove_virtual_loss(grown.root)
        rollout(grown, grown.root, content(token), content(9), value=token / 10)
    assert grown.select() is grown.root.children[2]


def test_virtual_loss_keeps_parallel_walks_apart() -> None:
    grown = tree(width=2)
    for token in (1, 2):
        rollout(grown, grown.root, content(token), content(8), content(9))
    first, second = grown.select(), grown.select()
    assert (first, second) == (grown.root.children[0], grown.root.children[1])
    assert [node.pending for node in grown.root.children] == [1, 1]


def test_a_walk_that_only_rollouts_in_flight_can_continue_says_so() -> None:
    grown = tree(width=2)
    assert grown.select() is grown.root
    assert grown.select() is grown.root
    assert grown.select() is None
    assert grown.root.pending == 2


def test_continuations_that_begin_alike_share_nodes() -> None:
    grown = tree()
    rollout(grown, grown.root, content(1), content(2), content(3))
    rollout(grown, grown.root, content(1), content(2), content(4))
    assert [node.content.text for node in grown.nodes] == ["", "1", "2", "3", "4"]
    assert [node.visits for node in grown.nodes] == [2, 2, 2, 1, 1]
    check(grown)


def test_an_end_is_not_a_way_through() -> None:
    grown = tree()
    rollout(grown, grown.root, content(1), content(2))
    rollout(grown, grown.root, content(1))
    assert [child.terminal for child in grown.root.children] == [False, True]
    check(grown)


def test_finished_parts_are_left_alone_until_everything_is_finished() -> None:
    grown = tree(width=2)
    rollout(grown, grown.root, content(1), value=0.9)
    rollout(grown, grown.root, content(2), content(3), value=0.1)
    assert grown.select() is grown.root.children[1]
    grown.remove_virtual_loss(grown.root.children[1])
    rollout(grown, grown.root.children[1], content(4), value=0.1)
    assert grown.root.exhausted
    assert grown.select() is grown.root
    grown.remove_virtual_loss(grown.root)
    rollout(grown, grown.root, content(5), content(6))
    assert not grown.root.exhausted
    check(grown)


def test_actions_that_are_too_deep_are_joined_into_a_leaf() -> None:
    grown = tree(max_depth=2)
    leaf = rollout(grown, grown.root, content(1), content(2), content(3), content(4))
    assert (leaf.content.text, leaf.depth, leaf.terminal) == ("234", 2, True)


def test_actions_beyond_the_largest_tree_are_joined_into_a_leaf() -> None:
    grown = tree()
    leaf = rollout(grown, grown.root, content(1), content(2), content(3), max_new=2)
    assert leaf.content.text == "23"
    assert len(grown.nodes) == 3
    leaf = rollout(grown, grown.root, content(1), content(5), content(6), max_new=1)
    assert leaf.content.text == "56"
    check(grown)


@given(
    seed=st.integers(0, 2**32),
    width=st.integers(1, 4),
    parallel=st.integers(1, 5),
    max_depth=st.integers(1, 6),
    room=st.integers(2, 60),
)
def test_counts_agree_after_any_search(seed: int, width: int, parallel: int, max_depth: int, room: int) -> None:
    dice = random.Random(seed)
    grown = tree(width=width, max_depth=max_depth)
    done = 0
    for _ in range(12):
        size = min(parallel, room - len(grown.nodes))
        forks = [fork for fork in (grown.select() for _ in range(size)) if fork is not None]
        assert size < 1 or forks, "with nothing in flight there is always a fork"
        assert grown.root.pending == len(forks)
        for fork in forks:
            grown.remove_virtual_loss(fork)
        for position, fork in enumerate(forks):
            assert not fork.terminal
            contents = [content(dice.randrange(3)) for _ in range(dice.randint(1, 5))]
            left = room - len(grown.nodes) - (len(forks) - position - 1)
            rollout(grown, fork, *contents, value=dice.random(), max_new=left)
            done += 1
        check(grown)
    assert len(grown.nodes) <= room
    assert grown.root.visits == done
    assert all(node.depth <= max_depth for node in grown.nodes)
