"""The options that say how a question is searched."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from . import common as options


@dataclass(frozen=True, slots=True)
class StrategyOptions:
    """Parameters of a strategy, each None where it keeps its default. See `SearchParameters` for what they mean."""

    rollouts: options.RolloutsOption = None
    action: options.ActionOption = None
    value: options.ValueOption = None
    answer_rule: options.AnswerRuleOption = None
    answer_from: options.AnswerFromOption = None
    width: options.WidthOption = None
    exploration: options.ExplorationOption = None
    greedy_first: options.GreedyFirstOption = None
    max_depth: options.MaxDepthOption = None
    max_rollout_tokens: options.MaxRolloutTokensOption = None
    parallel: options.ParallelOption = None
    reflection: options.ReflectionOption = None
    prune: options.PruneOption = None
    convergence_window: options.ConvergenceWindowOption = None
    vote_margin: options.VoteMarginOption = None
    stop_decided: options.StopDecidedOption = None
    max_tokens: options.MaxTokensBudget = None
    max_seconds: options.MaxSecondsBudget = None
    max_nodes: options.MaxNodesBudget = None

    @property
    def given(self) -> dict[str, Any]:
        """All parameters by name."""
        return asdict(self)
