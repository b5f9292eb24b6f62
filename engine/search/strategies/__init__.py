"""Strategies, which grow the tree of a search. One file per strategy."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..strategy import Strategy
from .beam import Beam
from .best_of_n import BestOfN
from .dvts import DVTS
from .greedy import Greedy
from .mcts import MCTS
from .rebase import REBASE
from .self_consistency import SelfConsistency

__all__ = ["DVTS", "MCTS", "REBASE", "STRATEGIES", "Beam", "BestOfN", "Greedy", "SelfConsistency"]

STRATEGIES: Mapping[str, type[Strategy]] = MappingProxyType(
    {strategy.name: strategy for strategy in (MCTS, Greedy, BestOfN, SelfConsistency, Beam, DVTS, REBASE)}
)
"""Strategies by name."""
