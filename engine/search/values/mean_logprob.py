"""A value that measures how probable a chain is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..trace import Trace
from .value import Value


@dataclass(frozen=True, slots=True)
class MeanLogprob(Value):
    """The geometric mean of the drawn tokens' probabilities: `exp` of their mean log-probability."""

    @property
    def name(self) -> str:
        """`"logprob"`."""
        return "logprob"

    def of(self, trace: Trace) -> float:
        """From 0 to 1; 0 for a chain without tokens."""
        return math.exp(trace.logprobs.mean(dtype=np.float64)) if len(trace.logprobs) else 0.0
