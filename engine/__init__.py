"""Search, scheduling, the KV tree, the public API and the command line; `marcot` re-exports the names in `__all__`."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..kernels import MarcotError, NonFiniteError
    from .engine import Engine
    from .errors import (
        CallableError,
        EngineBusyError,
        EngineClosedError,
        ForkedEngineError,
        InputError,
        QueueFullError,
        RequestCancelledError,
    )
    from .evaluation import Evaluation, evaluate
    from .expansion import Expansion
    from .node import Node
    from .outcome import Outcome
    from .replicas.replica_pool import ReplicaPool
    from .sampling.sampling import Sampling
    from .scoring import Score
    from .search.actions import Action
    from .search.answers import AnswerRule
    from .search.protocol import Progress
    from .search.question import Question
    from .search.result import Rollout, SearchResult, TreeNode
    from .search.strategies import DVTS, MCTS, REBASE, Beam, BestOfN, Greedy, SelfConsistency
    from .search.strategy import SearchOptions, Strategy
    from .search.trace import Trace
    from .search.values import Value
    from .serving.async_engine import AsyncEngine
    from .serving.blocking_engine import BlockingEngine
    from .usage import Usage

# Set before torch loads OpenMP, whose threads spin at every barrier by default and starve one another when other
# programs run. On two busy cores, four branches of the 0.5B model decoded at 0.8 tokens/s with spinning threads (load
# 2.7) and at 11.5 with waiting ones (load 3.8).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Imported on first use, so that `marcot --help` does not wait for torch.
_HOMES = {
    "DVTS": ".search.strategies",
    "MCTS": ".search.strategies",
    "REBASE": ".search.strategies",
    "Action": ".search.actions",
    "AnswerRule": ".search.answers",
    "AsyncEngine": ".serving.async_engine",
    "Beam": ".search.strategies",
    "BestOfN": ".search.strategies",
    "BlockingEngine": ".serving.blocking_engine",
    "CallableError": ".errors",
    "Engine": ".engine",
    "EngineBusyError": ".errors",
    "EngineClosedError": ".errors",
    "Evaluation": ".evaluation",
    "Expansion": ".expansion",
    "ForkedEngineError": ".errors",
    "Greedy": ".search.strategies",
    "InputError": ".errors",
    "MarcotError": "..kernels",
    "Node": ".node",
    "NonFiniteError": "..kernels",
    "Outcome": ".outcome",
    "Progress": ".search.protocol",
    "ReplicaPool": ".replicas.replica_pool",
    "Question": ".search.question",
    "QueueFullError": ".errors",
    "RequestCancelledError": ".errors",
    "Rollout": ".search.result",
    "Sampling": ".sampling.sampling",
    "Score": ".scoring",
    "SearchOptions": ".search.strategy",
    "SearchResult": ".search.result",
    "SelfConsistency": ".search.strategies",
    "Strategy": ".search.strategy",
    "Trace": ".search.trace",
    "TreeNode": ".search.result",
    "Usage": ".usage",
    "Value": ".search.values",
    "evaluate": ".evaluation",
}

__all__ = [
    "DVTS",
    "MCTS",
    "REBASE",
    "Action",
    "AnswerRule",
    "AsyncEngine",
    "Beam",
    "BestOfN",
    "BlockingEngine",
    "CallableError",
    "Engine",
    "EngineBusyError",
    "EngineClosedError",
    "Evaluation",
    "Expansion",
    "ForkedEngineError",
    "Greedy",
    "InputError",
    "MarcotError",
    "Node",
    "NonFiniteError",
    "Outcome",
    "Progress",
    "Question",
    "QueueFullError",
    "ReplicaPool",
    "RequestCancelledError",
    "Rollout",
    "Sampling",
    "Score",
    "SearchOptions",
    "SearchResult",
    "SelfConsistency",
    "Strategy",
    "Trace",
    "TreeNode",
    "Usage",
    "Value",
    "evaluate",
]


if not TYPE_CHECKING:  # else mypy would accept any name

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
