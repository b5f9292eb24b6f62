"""Marco-o1's reward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...sampling.token_confidence import CONFIDENCE_WIDTH, token_confidences
from ..trace import Trace
from .value import Value, check_width


@dataclass(frozen=True, slots=True)
class MarcoConfidence(Value):
    """The mean token confidence over all drawn tokens (arXiv 2411.14405, eq. 2); see `token_confidences`.

    Attributes:
        k: How many of the most probable tokens count; 5 in the paper.
    """

    k: int = CONFIDENCE_WIDTH

    def __post_init__(self) -> None:
        """Check `k`.

        Raises:
            InputError: It is not a possible number of tokens.
        """
        object.__setattr__(self, "k", check_width("k", self.k))

    @property
    def width(self) -> int:
        """See `Value.width`."""
        return self.k

    @property
    def name(self) -> str:
        """`"marco"`, or `"marco-k10"`."""
        return "marco" if self.k == CONFIDENCE_WIDTH else f"marco-k{self.k}"

    def of(self, trace: Trace) -> float:
        """The mean confidence; 0 for a chain without tokens."""
        if not len(trace.logprobs):
            return 0.0
        if self.k == CONFIDENCE_WIDTH:
            return float(trace.confidences.mean(dtype=np.float64))
        return float(token_confidences(trace.logprobs, trace.top_logprobs, self.k).mean(dtype=np.float64))
