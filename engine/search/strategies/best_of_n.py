"""Independent chains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..answers import AnswerRule
from ..protocol import Growing
from ..search_run import SearchRun
from ..search_tree import SearchNode
from ..strategy import Strategy


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BestOfN(Strategy):
    """`rollouts` independent chains; the one with the highest value wins."""

    name: ClassVar[str] = "best-of-n"

    answer_rule: str | AnswerRule = "best-rollout"

    def grow(self, run: SearchRun) -> Growing[None]:
        """Sample chains from the prompt until a budget is spent."""
        while not run.finished:
            forks: list[SearchNode] = []
            while run.admits(forks):
                forks.append(run.tree.root)
            yield from run.roll_out(forks)
