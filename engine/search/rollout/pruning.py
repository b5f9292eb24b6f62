"""Giving up chains that have lost their way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST_FINISHED = 4
"""Finished chains before the first can be given up: a quantile of fewer says nothing."""


class Pruning:
    """Compares the last tokens of a chain with how unsure finished chains were at their worst.

    DeepConf's stop of unpromising chains (arXiv 2508.15260), with Marco-o1's confidence, and with a threshold that
    follows the chains of this question instead of a warm-up of its own.
    """

    window = 64
    """Tokens that are looked at together; also how often a chain is looked at."""

    def __init__(self, share: float) -> None:
        """Give up chains below the `share` quantile of the finished ones; 0 gives up none."""
        self._share = share
        self._worst: list[float] = []

    @property
    def active(self) -> bool:
        """Whether chains can be given up by now."""
        return self._share > 0 and len(self._worst) >= _LEAST_FINISHED

    def observe(self, confidences: NDArray[np.float32]) -> None:
        """Take in a finished chain, `[tokens]`."""
        if self._share > 0 and len(confidences) >= self.window:
            sums = np.concatenate([[0.0], np.cumsum(confidences, dtype=np.float64)])
            self._worst.append(float((sums[self.window :] - sums[: -self.window]).min()) / self.window)

    def should_prune(self, confidences: NDArray[np.float32]) -> bool:
        """Whether a chain whose drawn tokens so far have these confidences, `[tokens]`, is to be given up."""
        if not self.active or len(confidences) < self.window:
            return False
        return float(confidences[-self.window :].mean(dtype=np.float64)) < float(np.quantile(self._worst, self._share))
