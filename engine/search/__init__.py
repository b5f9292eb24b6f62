"""Search strategies: plain generators that yield expansions and receive nodes."""

from .answer import extract_answer, normalise_answer
from .mcts import MCTS
from .result import Rollout, SearchResult, SearchStats, TreeNode
from .strategy import Progress, Search, Strategy, Task, Wave

__all__ = [
    "MCTS",
    "Progress",
    "Rollout",
    "Search",
    "SearchResult",
    "SearchStats",
    "Strategy",
    "Task",
    "TreeNode",
    "Wave",
    "extract_answer",
    "normalise_answer",
]
