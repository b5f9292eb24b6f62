"""Monte Carlo tree search over chains of reasoning, as Marco-o1 defines it."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass

from ..errors import InputError
from ..sampling import Sampling
from .action import Action
from .answer_rule import ANSWER_RULES
from .strategy import Search, Task
from .tree_search import TreeSearch


@dataclass(frozen=True, slots=True)
class MCTS:
    """Marco-o1's search (arXiv 2411.14405): UCT over actions, rewarded by the model's own confidence.

    Every iteration walks down the tree by UCT, samples one *rollout* from where it arrives to the end of the answer,
    and backs up its reward: the mean token confidence over all generated tokens from the prompt to that end. A rollout
    is cut into actions, and each becomes a node with its tokens and KV cache kept, so that a later rollout starts
    from any of them and pays only for its own tokens. `SearchTree` says how a node gets its children.

    A search is reproducible: it depends on its question and these parameters, and on time only if `max_seconds` is set.
    The paper leaves several of them open; defaults marked with * are ours.

    Attributes:
        rollouts: Iterations*.
        action: `"step"` (to a blank line, a step mark or the end of the thought), `"mini-step-64"`, `"mini-step-32"`
            or another number of tokens, or `"token"`.
        width: Children sampled from a node before UCT chooses among them*.
        exploration: C in UCT*.
        max_depth: Levels of the tree*. What a rollout writes below them is one last node, which is never forked.
        max_rollout_tokens: Generated tokens of a rollout, from the prompt to its end*.
        sampling: How tokens are drawn*; its `stop` strings end a rollout, its `max_tokens` is not used.
        parallel: Rollouts in flight at once, kept apart by virtual loss*. 1 is the textbook's sequential search.
        reflection: When a thought ends, append the paper's doubt and let the model go on; the answer is then what it
            concludes. The sentence itself has no part in the reward.
        answer_rule: `"confidence-vote"` (the answer whose rollouts have the highest sum of rewards), `"majority"`,
            `"best-value"` or `"most-visits"`*. Rollouts that were cut short vote only if all were.
        max_tokens: Tokens that a question may draw, never exceeded; None for no limit.
        max_seconds: When to cut what is running and conclude; rollouts cut by it count only if no other is there.
        max_nodes: Nodes of the tree, root included, never exceeded; None for no limit.
    """

    rollouts: int = 8
    action: str = "step"
    width: int = 3
    exploration: float = 1.414
    max_depth: int = 64
    max_rollout_tokens: int = 1024
    sampling: Sampling = Sampling()  # noqa: RUF009  (frozen)
    parallel: int = 4
    reflection: bool = False
    answer_rule: str = "confidence-vote"
    max_tokens: int | None = None
    max_seconds: float | None = None
    max_nodes: int | None = None

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
            InputError: Names the parameter, its value and what it may be.
        """
        Action.named(self.action)
        for name, least in (
            ("rollouts", 1),
            ("width", 1),
            ("max_depth", 1),
            ("max_rollout_tokens", 1),
            ("parallel", 1),
            ("max_tokens", 1),
            ("max_nodes", 2),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name}={value!r}: must be an integer >= {least}")
        if not (math.isfinite(self.exploration) and self.exploration >= 0):
            raise InputError(f"exploration={self.exploration!r}: must be a finite number >= 0")
        if self.max_seconds is not None and not (math.isfinite(self.max_seconds) and self.max_seconds > 0):
            raise InputError(f"max_seconds={self.max_seconds!r}: must be a finite number > 0")
        if self.answer_rule not in ANSWER_RULES:
            raise InputError(f"answer_rule {self.answer_rule!r}: must be one of {', '.join(ANSWER_RULES)}")

    def search(self, task: Task) -> Search:
        """Start searching `task`; the caller drives the generator."""
        with ExitStack() as held:
            return (yield from TreeSearch(self, task, held).run())
