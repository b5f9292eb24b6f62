"""Monte Carlo tree search over chains of reasoning, as Marco-o1 defines it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...checking import check_branches
from ..protocol import Growing
from ..search_run import SearchRun
from ..search_tree import SearchNode
from ..strategy import Strategy
from .tree_policy import TreePolicy


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MCTS(Strategy):
    """Marco-o1's search (arXiv 2411.14405): UCT over actions, rewarded by the model's own confidence.

    Every iteration selects a node by UCT, samples one *rollout* from there to the end of the answer, and backs up its
    value. A rollout is cut into actions, and each becomes a node whose tokens and KV cache are kept, so that a later
    rollout can start from any of them and only computes its own tokens. `TreePolicy` describes how a node gets its
    children, and what changes if several rollouts are in flight at once (`parallel`).

    The paper specifies only `exploration`; the other defaults are ours, and two of them depart from it.
    `greedy_first`: the most probable chain is right more often than a sampled one, at least with small models, so it
    should be among those that vote. `vote_margin`: where chains agree, the search stops early, which leaves more tokens
    for questions where they do not.

    Attributes:
        width: Children sampled from a node before UCT chooses among them.
        exploration: The constant C of UCT.
        greedy_first: Whether the first rollout takes the most probable tokens.
        asynchronous: Whether a new rollout starts as soon as one has ended (within 8 tokens), instead of when all of
            those in flight have. The `parallel` places then stay filled, also beside a long rollout; a rollout is
            chosen when `parallel - 1` others are in flight rather than when none is. The result still depends only on
            the question and the parameters.
    """

    name: ClassVar[str] = "mcts"

    width: int = 3
    exploration: float = 1.414
    greedy_first: bool = True
    asynchronous: bool = False
    vote_margin: int = 2

    def __post_init__(self) -> None:
        """Check every range. See `Strategy`."""
        super(MCTS, self).__post_init__()
        self.check_least(width=1)
        check_branches("width", self.width)
        self.check_real("exploration", "a finite number >= 0", least=0)
        self.check_flags("greedy_first", "asynchronous")

    def grow(self, run: SearchRun) -> Growing[None]:
        """Select forks, sample a rollout from each, back up, until a budget is spent."""

        def width(node: SearchNode) -> int:
            return run.action.width(node.kinds) or self.width

        policy = TreePolicy(run.tree.root, width, self.exploration)
        while not (finished := run.finished) or run.in_flight:
            forks: list[SearchNode] = []
            while not finished and run.admits(forks) and (fork := policy.select()) is not None:
                forks.append(fork)
            counted = len(run.rollouts)
            greedy_first = self.greedy_first and not (counted or run.in_flight)
            if self.asynchronous:
                ended = yield from run.advance(forks, greedy_first)
            else:
                yield from run.roll_out(forks, greedy_first)
                ended = forks
            for fork in ended:
                policy.remove_virtual_loss(fork)
            for rollout in run.rollouts[counted:]:
                policy.mark_exhausted(run.tree.nodes[rollout.leaf])
