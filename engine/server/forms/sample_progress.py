"""The text and confidence of a sample while it is drawn."""

from __future__ import annotations

import math

import numpy as np

from ....model import Tokenizer
from ...completion import Completion
from ...sampling.sampling import Sampling
from ...sampling.token_confidence import token_confidences
from .spelled_text import SpelledText


class SampleProgress:
    """Follows one sample, piece by piece."""

    def __init__(self, tokenizer: Tokenizer | None, sampling: Sampling, skip_special_tokens: bool) -> None:
        """Start with nothing drawn."""
        self._spelled = None if skip_special_tokens or tokenizer is None else SpelledText(tokenizer, sampling)
        self._drawn: list[Completion] = []

    def text(self, drawn: Completion) -> str:
        """The text that the next piece adds. Call it once per piece, before the other methods."""
        if len(drawn.token_ids):
            self._drawn.append(drawn)
        return drawn.text if self._spelled is None else self._spelled.push(drawn)

    def confidence(self, drawn: Completion) -> float | None:
        """Mean of Marco-o1's token confidences; None before the last piece."""
        if drawn.finish_reason is None or not self._drawn:
            return None
        logits = np.concatenate([piece.logits for piece in self._drawn])
        top_logits = np.concatenate([piece.top_logits for piece in self._drawn])
        mean = float(token_confidences(logits, top_logits).mean())
        return mean if math.isfinite(mean) else None
