"""Engines that take whole prompts and find shared prefixes in a cache."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from .peer import Peer


class PrefixCachingPeer(Peer):
    """An engine with a prefix cache. A round is one call with the prompts of all branches.

    So each round also includes looking up the prompts, and computing the end of each prompt again, cached or not.
    """

    def prefill(self, ids: list[int]) -> None:
        self.generate([ids], 1)

    def fork(self, prefix: list[int], branches: int) -> None:
        self.fork_leaves([prefix] * branches)

    def fork_leaves(self, paths: Sequence[list[int]]) -> None:
        """Set the paths, each to be continued by one branch."""
        self._paths = list(paths)

    def start(self, passes: int) -> None:
        self._passes = passes

    def decode(self) -> None:
        self.generate(self._paths, self._passes)

    @abstractmethod
    def generate(self, paths: list[list[int]], tokens: int) -> None:
        """Draw exactly `tokens` tokens after each of `paths`, each with its five best log-probabilities."""
