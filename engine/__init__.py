"""Search, scheduling, the KV tree, the public API and the command line."""

from .engine import Engine
from .errors import InputError
from .expansion import Expansion
from .node import Node
from .outcome import Outcome
from .sampling import Sampling
from .scoring import Score
from .search.mcts import MCTS
from .search.result import SearchResult
from .search.strategy import Progress, Strategy
from .usage import Usage

__all__ = [
    "MCTS",
    "Engine",
    "Expansion",
    "InputError",
    "Node",
    "Outcome",
    "Progress",
    "Sampling",
    "Score",
    "SearchResult",
    "Strategy",
    "Usage",
]
