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
    """Chooses the nodes that rollouts start from.

    Each of a node's first `width` visits samples a new continuation of it; after that, UCT picks one of its children.
    This is the usual expansion into `width` unvisited children, except that a child is sampled only when it is first
    visited. Continuations that begin with the same action share a child, so there can be fewer children.

    Rollouts in flight count as visits of value 0 (virtual loss). So `n` of them from one node use up `n` of its first
    `width` continuations before any value is known: a wave of rollouts is wider and less deep than the same number of
    rollouts one after another.
    """

    def __init__(self, root: SearchNode, width: Callable[[SearchNode], int], exploration: float) -> None:
        """Make a policy for the tree below `root`.

        Args:
            root: The root of the tree.
            width: Returns how many continuations of a node are sampled before UCT chooses among them.
            exploration: The constant C of UCT.
        """
        self._root = root
        self._width = width
        self._exploration = exploration

    def select(self) -> SearchNode | None:
        """Select the node that the next rollout starts from, and count a pending visit for it and all nodes above it.

        Chains that have ended are not selected again. When the whole tree is exhausted, the root gets more
        continuations than its width.

        Returns:
            The node; None if the path ends at a node that has nothing new until rollouts in flight have finished. That
            cannot happen if none is in flight.
        """
        node = self._root
        while node.visits + node.pending >= self._width(node) and not self._root.exhausted:
            parent_visits = node.visits + node.pending
            if not node.open_children:
                return None
            node = max(
                (child for child in node.children if not child.exhausted),
                key=lambda child: uct(child.total, child.visits + child.pending, parent_visits, self._exploration),
            )
        for passed in node.chain:
            passed.pending += 1
        return node

    def remove_virtual_loss(self, fork: SearchNode) -> None:
        """Undo the pending visits that `select` counted for `fork`: its rollout is no longer in flight."""
        for passed in fork.chain:
            passed.pending -= 1

    def mark_exhausted(self, leaf: SearchNode) -> None:
        """After a rollout has ended in `leaf`, mark the nodes on its path that have nothing new as exhausted."""
        for node in leaf.chain:
            is_searched = bool(node.children) and not node.open_children and node.visits >= self._width(node)
            node.set_exhausted(node.terminal or is_searched)
