"""The bandit rule that walks down the tree."""

from __future__ import annotations

import math


def uct(total: float, visits: int, parent_visits: int, exploration: float) -> float:
    """Upper confidence bound for trees: `Q/N + C·sqrt(2·ln N_parent / N)` (Kocsis and Szepesvári, 2006).

    Args:
        total: Q, the sum of the rewards of the node's rollouts.
        visits: N, how often the node was visited, rollouts in flight included; 0 ranks above everything.
        parent_visits: The same for its parent.
        exploration: C.
    """
    if visits == 0:
        return math.inf
    return total / visits + exploration * math.sqrt(2.0 * math.log(parent_visits) / visits)
