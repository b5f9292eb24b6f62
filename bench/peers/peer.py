"""The interface of the engines that the benchmarks compare."""

from __future__ import annotations

from abc import ABC, abstractmethod

TOP_K = 20
"""Tokens are drawn from the `TOP_K` most probable ones."""

CONFIDENCE_K = 5
"""A token's confidence is its probability, divided by that of the `CONFIDENCE_K` most probable tokens together."""


class Peer(ABC):
    """A loaded model. A round is `start`, which is not timed, and `decode`, which is.

    Every engine draws with temperature 1 from the `TOP_K` best tokens and never stops at an end-of-sequence token. If
    possible, it also computes the confidence of each token from the five best log-probabilities.
    """

    @abstractmethod
    def prefill(self, ids: list[int]) -> None:
        """Compute a prompt that is in no cache, up to the logits of the next token, and discard it."""

    @abstractmethod
    def fork(self, prefix: list[int], branches: int) -> None:
        """Compute `prefix` once, to be continued by `branches` branches."""

    @abstractmethod
    def start(self, passes: int) -> None:
        """Reset every branch to the end of the prefix, and prepare a round of `passes` forward passes."""

    @abstractmethod
    def decode(self) -> None:
        """Run the round: each forward pass computes one token of every branch and then draws the next ones."""
