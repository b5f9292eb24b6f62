"""Beam search over actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ...checking import check_branches
from ..answers import AnswerRule
from ..protocol import Growing
from ..search_run import SearchRun
from ..search_tree import SearchNode
from ..strategy import Strategy


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Beam(Strategy):
    """Beam search guided by values, as in arXiv 2408.03314.

    Each of `beams` nodes is continued by `samples` actions, and the best `beams` of all new nodes are kept. Chains that
    end are counted; if they are among the best, they take a place, so the beam narrows until it is empty. If the
    budgets allow, the search then starts again with other samples.

    Attributes:
        beams: Number of nodes that are kept.
        samples: Actions sampled from each node.
    """

    name: ClassVar[str] = "beam"

    answer_rule: str | AnswerRule = "best-rollout"
    beams: int = 4
    samples: int = 4

    def __post_init__(self) -> None:
        """Check every range. See `Strategy`."""
        super(Beam, self).__post_init__()
        self.check_least(beams=1, samples=1)
        check_branches("beams times samples", self.beams * self.samples)

    def grow(self, run: SearchRun) -> Growing[None]:
        """Grow one beam after another."""
        while not run.finished:
            forks = [run.tree.root] * (self.beams * self.samples)
            while forks and not run.finished:
                reached = yield from run.extend(forks)
                kept = [node for node in best(reached, self.beams) if not node.terminal]
                forks = [node for node in kept for _ in range(self.samples)]


def best(nodes: Sequence[SearchNode | None], count: int) -> list[SearchNode]:
    """The `count` different nodes with the highest ratings, best first; of equals, the first."""
    found = dict.fromkeys(node for node in nodes if node is not None)
    return sorted(found, key=lambda node: -(node.rating or 0.0))[:count]
