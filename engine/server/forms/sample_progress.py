"""The text and confidence of a sample while it is drawn."""

from __future__ import annotations

import math

from ....model import Tokenizer
from ...completion import Completion
from ...sampling.sampling import Sampling
from .spelled_text import SpelledText


class SampleProgress:
    """Follows one sample, piece by piece."""

    def __init__(self, tokenizer: Tokenizer | None, sampling: Sampling, skip_special_tokens: bool) -> None:
        """Start with nothing drawn."""
        self._spelled = None if skip_special_tokens or tokenizer is None else SpelledText(tokenizer, sampling)
        self._tokens = 0
        self._confidence = 0.0

    def text(self, drawn: Completion) -> str:
        """The text that the next piece adds. Call it once per piece, before the other methods."""
        self._tokens += len(drawn.token_ids)
        self._confidence += float(drawn.confidences.sum())
        return drawn.text if self._spelled is None else self._spelled.push(drawn)

    def confidence(self, drawn: Completion) -> float | None:
        """Mean of Marco-o1's token confidences; None before the last piece."""
        if drawn.finish_reason is None or not self._tokens:
            return None
        mean = self._confidence / self._tokens
        return mean if math.isfinite(mean) else None
