"""What the model said of a run of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import MAX_TOP_K

if TYPE_CHECKING:
    from .stretch import Stretch


class Signal(NamedTuple):
    """Log-probabilities and confidences of consecutive tokens; NaN where a token was given to the model, not drawn.

    Attributes:
        confidences: `[tokens]` fp32, Marco-o1's token confidence.
        logprobs: `[tokens]` fp32, raw log-probability of each token.
        top_logprobs: `[tokens, k]` fp32, those of the most probable tokens in its place, best first.
    """

    confidences: NDArray[np.float32]
    logprobs: NDArray[np.float32]
    top_logprobs: NDArray[np.float32]

    @staticmethod
    def of(stretch: Stretch) -> Signal:
        """The signal of all tokens of `stretch`."""
        branch, end = stretch
        if not stretch.given:
            return Signal(branch.confidences[:end], branch.logprobs[:end], branch.top_logprobs[:end])
        nothing = np.full(end, np.nan, np.float32)
        return Signal(nothing, nothing, np.full((end, MAX_TOP_K), np.nan, np.float32))

    @staticmethod
    def joined(signals: Sequence[Signal]) -> Signal:
        """Signals one after the other, with as many columns as all of them have."""
        if len(signals) == 1:
            return signals[0]
        if not signals:
            return Signal(_NOTHING, _NOTHING, np.empty((0, MAX_TOP_K), np.float32))
        columns = min(signal.top_logprobs.shape[1] for signal in signals)
        return Signal(
            np.concatenate([signal.confidences for signal in signals]),
            np.concatenate([signal.logprobs for signal in signals]),
            np.concatenate([signal.top_logprobs[:, :columns] for signal in signals]),
        )

    def part(self, first: int, last: int) -> Signal:
        """The signal of tokens `first` to `last`, exclusive."""
        return Signal(self.confidences[first:last], self.logprobs[first:last], self.top_logprobs[first:last])

    def drawn(self) -> Signal:
        """The signal without tokens that were given."""
        is_drawn = ~np.isnan(self.logprobs)
        if is_drawn.all():
            return self
        return Signal(self.confidences[is_drawn], self.logprobs[is_drawn], self.top_logprobs[is_drawn])


_NOTHING = np.empty(0, np.float32)
