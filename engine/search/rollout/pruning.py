"""Gives up chains whose confidence has dropped too low."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST_FINISHED = 4
"""Pruning starts after this many finished chains, because a quantile of fewer is meaningless."""


class Pruning:
    """Compares the confidence of a chain's last tokens with the worst passages of the finished chains.

    This is DeepConf's early stop (arXiv 2508.15260), but with Marco-o1's confidence, and with a threshold that follows
    the chains of this question instead of a separate warm-up.
    """

    window = 64
    """Length of a passage in tokens; a chain is checked each time this many tokens have been drawn."""

    def __init__(self, share: float) -> None:
        """Give up chains below the `share` quantile of the worst passages of finished ones; 0 gives up none."""
        self._share = share
        self._worst: list[float] = []
        self._threshold: float | None = None

    @property
    def active(self) -> bool:
        """Whether enough chains have finished to give up others."""
        return self._share > 0 and len(self._worst) >= _LEAST_FINISHED

    def observe(self, confidences: NDArray[np.float32]) -> None:
        """Add the confidences of a finished chain, `[tokens]`."""
        if self._share > 0 and len(confidences) >= self.window:
            sums = np.concatenate([[0.0], np.cumsum(confidences, dtype=np.float64)])
            self._worst.append(float((sums[self.window :] - sums[: -self.window]).min()) / self.window)
            self._threshold = None

    def should_prune(self, confidences: NDArray[np.float32]) -> bool:
        """Whether to give up a chain whose drawn tokens have these confidences so far, `[tokens]`."""
        if not self.active or len(confidences) < self.window:
            return False
        if self._threshold is None:
            self._threshold = float(np.quantile(self._worst, self._share))
        return float(confidences[-self.window :].mean(dtype=np.float64)) < self._threshold
