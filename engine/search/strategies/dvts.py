"""Diverse verifier tree search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...checking import check_branches
from ..answers import AnswerRule
from ..protocol import Growing
from ..search_run import SearchRun
from ..search_tree import SearchNode
from ..strategy import Strategy
from .beam import best


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DVTS(Strategy):
    """Independent greedy subtrees (Beeching, Tunstall and Rush, "Scaling test-time compute with open models", 2024).

    `subtrees` chains grow in parallel. For each, `samples` actions are sampled and the best one is kept, so no subtree
    crowds out another, as happens in a beam. When all have ended and the budgets allow, the search starts again with
    other samples.

    Attributes:
        subtrees: Chains that grow in parallel.
        samples: Actions sampled from each node.
    """

    name: ClassVar[str] = "dvts"

    answer_rule: str | AnswerRule = "best-rollout"
    subtrees: int = 4
    samples: int = 4

    def __post_init__(self) -> None:
        """Check every range. See `Strategy`."""
        super(DVTS, self).__post_init__()
        self.check_least(subtrees=1, samples=1)
        check_branches("subtrees times samples", self.subtrees * self.samples)

    def grow(self, run: SearchRun) -> Growing[None]:
        """Grow all subtrees, action by action."""
        while not run.finished:
            tips = [run.tree.root] * self.subtrees
            while tips and not run.finished:
                reached = yield from run.extend([tip for tip in tips for _ in range(self.samples)])
                tips = [node for node in self._best_of_each(reached) if not node.terminal]

    def _best_of_each(self, reached: list[SearchNode | None]) -> list[SearchNode]:
        groups = [reached[first : first + self.samples] for first in range(0, len(reached), self.samples)]
        return [node for group in groups for node in best(group, 1)]
