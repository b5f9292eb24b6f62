"""Selection: the path from the root to the node that the next rollout starts from."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..search_tree import SearchNode


def uct(total: float, visits: int, parent_visits: int, exploration: float) -> float:
    """Upper confidence bound for trees: `Q/N + C·sqrt(2·ln N_parent / N)` (Kocsis and Szepesvári, 2006).

    Args:
        total: Q, the sum of the rewards of the node's rollouts.
        visits: N, visits of the node, including rollouts in flight; 0 gives the highest score.
        parent_visits: The same for its parent.
        exploration: C.
    """
    if visits == 0:
        return math.inf
    return total / visits + exploration * math.sqrt(2.0 * math.log(parent_visits) / visits)


class TreePolicy:
    """Chooses the states that rollouts start from.

    A node's first `width` visits each sample a new continuation of it; from then on UCT picks one of its children.
    That is expansion into `width` unvisited children, except that a child is sampled when its turn to be visited
    comes and not before. Continuations that begin with the same action share a child, so there can be fewer.

    Rollouts in flight count as visits of value 0 (virtual loss). So `n` of them from one state are `n` of its first
    `width` continuations, whatever the first would have shown: a wave is wider and less deep than as many rollouts one
    after the other.
    """

    def __init__(self, root: SearchNode, width: Callable[[SearchNode], int], exploration: float) -> None:
        """Walk down from `root`.

        Args:
            root: The prompt's state.
            width: Continuations sampled from a node before UCT chooses among them.
            exploration: UCT's C.
        """
        self._root = root
        self._width = width
        self._exploration = exploration

    def select(self) -> SearchNode | None:
        """Walk down to the state that the next rollout starts from, and count the visit as pending on the way.

        A chain is never walked to its end twice. When the whole tree is exhausted, the root is continued beyond its
        width. Returns None if the way ends at a node that has nothing to offer until rollouts in flight have come back;
        that cannot happen while none is in flight.
        """
        node = self._root
        while node.visits + node.pending >= self._width(node) and not self._root.exhausted:
            parent_visits = node.visits + node.pending
            open_children = [child for child in node.children if not child.exhausted]
            if not open_children:
                return None
            node = max(
                open_children,
                key=lambda child: uct(child.total, child.visits + child.pending, parent_visits, self._exploration),
            )
        for passed in node.chain:
            passed.pending += 1
        return node

    def remove_virtual_loss(self, fork: SearchNode) -> None:
        """Take back what `select` counted for `fork`: a rollout from it is no longer in flight."""
        for passed in fork.chain:
            passed.pending -= 1

    def mark_exhausted(self, leaf: SearchNode) -> None:
        """After a rollout has ended in `leaf`, close the states on its path where nothing new can be found."""
        for node in leaf.chain:
            node.exhausted = node.terminal or (
                bool(node.children)
                and all(child.exhausted for child in node.children)
                and node.visits >= self._width(node)
            )
