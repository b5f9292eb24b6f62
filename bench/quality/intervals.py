"""95 % confidence intervals of means over the tokens of a text."""

from __future__ import annotations

import numpy as np
from marcot.engine.evaluation import Interval
from numpy.typing import NDArray

_RESAMPLES = 2000
_RUN = 64
"""Tokens per run. Neighbouring tokens are correlated; runs of this length are nearly independent."""

_LEAST_RUNS = 8
"""Minimum number of runs; fewer give no useful estimate of their variation."""


def mean_of_tokens(values: NDArray[np.float64]) -> Interval | None:
    """Return the interval of the mean of `values`, `[tokens]` in text order; None if there are too few.

    It is a bootstrap that resamples whole runs of tokens, with a fixed seed.
    """
    runs = [values[first : first + _RUN] for first in range(0, len(values), _RUN)]
    if len(runs) < _LEAST_RUNS:
        return None
    sums, counts = np.array([run.sum() for run in runs]), np.array([len(run) for run in runs])
    drawn = np.random.default_rng(0).integers(len(runs), size=(_RESAMPLES, len(runs)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (0.025, 0.975))
    return Interval(float(low), float(high))
