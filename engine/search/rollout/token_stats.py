"""Log-probabilities and confidences of a run of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....kernels import MAX_TOP_K

if TYPE_CHECKING:
    from .branch_prefix import BranchPrefix


class TokenStats(NamedTuple):
    """Log-probabilities and confidences of consecutive tokens; NaN where a token was given to the model, not drawn.

    Attributes:
        confidences: `[tokens]` fp32, Marco-o1's token confidence.
        logprobs: `[tokens]` fp32, log-probability of each token (see `Sampling.logprobs`).
        top_logprobs: `[tokens, k]` fp32, log-probabilities of the most probable tokens at each position, best first.
    """

    confidences: NDArray[np.float32]
    logprobs: NDArray[np.float32]
    top_logprobs: NDArray[np.float32]

    @staticmethod
    def of(prefix: BranchPrefix) -> TokenStats:
        """The stats of all tokens of `prefix`."""
        branch, end = prefix
        if not prefix.given:
            return TokenStats(branch.confidences[:end], branch.logprobs[:end], branch.top_logprobs[:end])
        nothing = np.full(end, np.nan, np.float32)
        return TokenStats(nothing, nothing, np.full((end, MAX_TOP_K), np.nan, np.float32))

    @staticmethod
    def joined(runs: Sequence[TokenStats]) -> TokenStats:
        """The stats of consecutive runs, with as many columns of `top_logprobs` as every run has."""
        if len(runs) == 1:
            return runs[0]
        if not runs:
            return TokenStats(_NOTHING, _NOTHING, np.empty((0, MAX_TOP_K), np.float32))
        columns = min(stats.top_logprobs.shape[1] for stats in runs)
        return TokenStats(
            np.concatenate([stats.confidences for stats in runs]),
            np.concatenate([stats.logprobs for stats in runs]),
            np.concatenate([stats.top_logprobs[:, :columns] for stats in runs]),
        )

    def slice(self, first: int, last: int) -> TokenStats:
        """The stats of tokens `first` to `last`, exclusive."""
        return TokenStats(self.confidences[first:last], self.logprobs[first:last], self.top_logprobs[first:last])

    def drawn(self) -> TokenStats:
        """The stats of the drawn tokens alone."""
        is_drawn = ~np.isnan(self.logprobs)
        if is_drawn.all():
            return self
        return TokenStats(self.confidences[is_drawn], self.logprobs[is_drawn], self.top_logprobs[is_drawn])


_NOTHING = np.empty(0, np.float32)
