"""DeepConf's values: the model's confidence in the worst passages of a chain, or at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...checking import check_count, shown
from ...errors import InputError
from ..trace import Trace
from .value import Value, check_width

_CERTAIN = 16.0
"""The token confidence that is mapped to 1: near-certain tokens of Qwen2.5 have 12 to 20 with `k` = 5."""


@dataclass(frozen=True, slots=True)
class GroupConfidence(Value):
    """Confidence of a group of consecutive tokens (DeepConf, arXiv 2508.15260).

    A token's confidence is the negative mean log-probability of the `k` most probable tokens at its position: the more
    certain the model, the less probability is left for the other tokens. A group's confidence is the mean over its
    tokens.

    Attributes:
        part: `"group"`: the mean of the lowest tenth of all groups; `"lowest"`: the lowest group; `"tail"`: the last
            one.
        window: Tokens of a group; a shorter chain is one group.
        k: How many of the most probable tokens count.
    """

    part: Literal["group", "lowest", "tail"] = "group"
    window: int = 32
    k: int = 5

    def __post_init__(self) -> None:
        """Check `part`, `window` and `k`.

        Raises:
            InputError: Names the one that is invalid.
        """
        if self.part not in ("group", "lowest", "tail"):
            raise InputError(f"part={shown(self.part)}: must be 'group', 'lowest' or 'tail'")
        object.__setattr__(self, "window", check_count("window", self.window, "an integer >= 1", least=1))
        object.__setattr__(self, "k", check_width("k", self.k))

    @property
    def width(self) -> int:
        """See `Value.width`."""
        return self.k

    @property
    def name(self) -> str:
        """`"deepconf-group"`, `"deepconf-lowest"` or `"deepconf-tail"`."""
        return f"deepconf-{self.part}"

    def of(self, trace: Trace) -> float:
        """The confidence relative to near-certainty, from 0 to 1; 0 for a chain without tokens."""
        if not len(trace.logprobs):
            return 0.0
        tokens = -trace.top_logprobs[:, : self.k].mean(axis=1, dtype=np.float64)
        # With `Sampling.logprobs="processed"`, truncation leaves other tokens no probability at all.
        groups = self._groups(np.where(np.isinf(tokens), _CERTAIN, tokens))
        if self.part == "tail":
            confidence = groups[-1]
        elif self.part == "lowest":
            confidence = groups.min()
        else:
            confidence = np.sort(groups)[: max(1, len(groups) // 10)].mean()
        return float(np.clip(confidence / _CERTAIN, 0.0, 1.0))

    def _groups(self, confidences: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of each window, first to last."""
        window = min(self.window, len(confidences))
        sums = np.concatenate([[0.0], np.cumsum(confidences)])
        means: NDArray[np.float64] = (sums[window:] - sums[:-window]) / window
        return means
