"""What every engine of the comparison does, and in what order it is asked to."""

from __future__ import annotations

from abc import ABC, abstractmethod

TOP_K = 20
"""Truncation of every draw; the five best also give the token's confidence."""


class Peer(ABC):
    """A loaded model. A round is `start`, which is not timed, and `decode`, which is.

    Every engine draws with temperature 1 from the `TOP_K` best tokens, never stops at an end-of-sequence token, and
    where it can computes each token's confidence from the five best log-probabilities.
    """

    @abstractmethod
    def prefill(self, ids: list[int]) -> None:
        """Compute a prompt that no cache knows, up to the distribution of the token after it, and forget it."""

    @abstractmethod
    def fork(self, prefix: list[int], branches: int) -> None:
        """Compute `prefix` once and let `branches` branches follow it."""

    @abstractmethod
    def start(self, passes: int) -> None:
        """Take every branch back to the end of the prefix, ready for a round of `passes` forward passes."""

    @abstractmethod
    def decode(self) -> None:
        """Run the round: each forward pass takes one token from every branch and ends with the draw of the next."""
