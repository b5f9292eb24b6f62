"""The content of a node of the search tree: the tokens and text of one action."""

from __future__ import annotations

import math
from typing import NamedTuple

from .branch_prefix import BranchPrefix
from .token_stats import TokenStats


class NodeContent(NamedTuple):
    """What one node adds to its parent.

    Attributes:
        token_ids: The tokens.
        text: Their text; the texts along a chain add up to the text of the chain.
        kind: Kind of action, such as `"step"`.
        drawn: How many of the tokens were drawn from the model; others were given, such as those of a reflection.
        stats: Log-probabilities and confidences of the tokens.
        origin: The generated branch that the tokens were cut from, up to the last of them.
    """

    token_ids: tuple[int, ...]
    text: str
    kind: str
    drawn: int
    stats: TokenStats
    origin: BranchPrefix

    @property
    def confidences(self) -> tuple[float | None, ...]:
        """Confidence of each token; None for a given one."""
        confidences: list[float] = self.stats.confidences.tolist()
        if self.drawn == len(self.token_ids):
            return tuple(confidences)
        return tuple(None if math.isnan(each) else each for each in confidences)

    def joined(self, later: NodeContent) -> NodeContent:
        """This content, extended by `later`."""
        return NodeContent(
            self.token_ids + later.token_ids,
            self.text + later.text,
            self.kind,
            self.drawn + later.drawn,
            TokenStats.joined([self.stats, later.stats]),
            later.origin,
        )

    @staticmethod
    def prompt(origin: BranchPrefix) -> NodeContent:
        """The root's content: no tokens, only the state after the prompt."""
        return NodeContent((), "", "", 0, TokenStats.joined([]), origin)
