"""Reward-balanced search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ...checking import check_branches
from ..protocol import Growing
from ..search_run import SearchRun
from ..strategy import Strategy


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class REBASE(Strategy):
    """Reward-balanced search (arXiv 2408.00724).

    All unfinished nodes of a level are continued, the better ones with more samples: `samples` minus the number of
    finished chains is divided in proportion to `exp(rating / balance)`. Shares are rounded by the largest-remainder
    method, so that their sum is exact. When all chains have ended and the budgets allow, the search starts again.

    Attributes:
        samples: Number of actions sampled from the prompt, and maximum number of chains that result from them.
        balance: Temperature of the shares: small values favour the best node, large ones treat all alike.
    """

    name: ClassVar[str] = "rebase"

    samples: int = 16
    balance: float = 0.1

    def __post_init__(self) -> None:
        """Check every range. See `Strategy`."""
        super(REBASE, self).__post_init__()
        self.check_least(samples=1)
        check_branches("samples", self.samples)
        self.check_real("balance", "a finite number > 0", above=0)

    def grow(self, run: SearchRun) -> Growing[None]:
        """Grow the tree level by level."""
        while not run.finished:
            budget = self.samples
            forks = [run.tree.root] * budget
            while forks and not run.finished:
                reached = [node for node in (yield from run.extend(forks)) if node is not None]
                budget -= sum(node.terminal for node in reached)
                open_nodes = list(dict.fromkeys(node for node in reached if not node.terminal))
                shares = apportioned(budget, [(node.rating or 0.0) / self.balance for node in open_nodes])
                forks = [node for node, share in zip(open_nodes, shares, strict=True) for _ in range(share)]


def apportioned(amount: int, scores: Sequence[float]) -> list[int]:
    """Divide `amount` into integer shares proportional to `exp(score)`, by the largest-remainder method."""
    if not scores:
        return []
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    total = sum(weights)
    exact = [amount * weight / total for weight in weights]
    shares = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(scores)), key=lambda index: shares[index] - exact[index])
    for index in by_remainder[: amount - sum(shares)]:
        shares[index] += 1
    return shares
