"""Engines that are given whole prompts and find in a cache of their own what these have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from .peer import Peer


class PrefixCachingPeer(Peer):
    """A round is one call with the prompts of all branches; the engine keeps what it computes for the next.

    So a round also looks the prompts up and computes the end of each once more, whatever is cached.
    """

    def prefill(self, ids: list[int]) -> None:
        self.generate([ids], 1)

    def fork(self, prefix: list[int], branches: int) -> None:
        self.fork_leaves([prefix] * branches)

    def fork_leaves(self, paths: Sequence[list[int]]) -> None:
        """Let one branch follow each of `paths`."""
        self._paths = list(paths)

    def start(self, passes: int) -> None:
        self._passes = passes

    def decode(self) -> None:
        self.generate(self._paths, self._passes)

    @abstractmethod
    def generate(self, paths: list[list[int]], tokens: int) -> None:
        """Draw exactly `tokens` tokens behind each of `paths`, each with its five best log-probabilities."""
