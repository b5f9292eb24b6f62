"""95 % intervals of means over text."""

from __future__ import annotations

import numpy as np
from marcot.engine.evaluation import Interval
from numpy.typing import NDArray

_RESAMPLES = 2000
_RUN = 64
"""Neighbouring tokens are alike; runs of this many, resampled as a whole, are nearly independent."""

_LEAST_RUNS = 8
"""Fewer do not say how much they vary."""


def mean_of_tokens(values: NDArray[np.float64]) -> Interval | None:
    """Of the mean of `[tokens]` in their order, by a bootstrap over runs of tokens; None if there are too few.

    The same every time.
    """
    runs = [values[first : first + _RUN] for first in range(0, len(values), _RUN)]
    if len(runs) < _LEAST_RUNS:
        return None
    sums, counts = np.array([run.sum() for run in runs]), np.array([len(run) for run in runs])
    drawn = np.random.default_rng(0).integers(len(runs), size=(_RESAMPLES, len(runs)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (0.025, 0.975))
    return Interval(float(low), float(high))
