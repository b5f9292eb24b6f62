"""Marco-o1's token confidence (arXiv 2411.14405, eq. 1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CONFIDENCE_WIDTH = 5
"""How many of the most probable tokens a token is compared with, as in the paper."""


def token_confidences(
    logits: NDArray[np.float32], top_logits: NDArray[np.float32], width: int = CONFIDENCE_WIDTH
) -> NDArray[np.float32]:
    """Probability of each token relative to the most probable ones: `exp(p_i) / Σ exp(p_k)` over the top `width`.

    Args:
        logits: `[tokens]`, logits or log-probabilities of the tokens.
        top_logits: `[tokens, k]`, logits or log-probabilities of the `k >= width` most probable tokens at each
            position, best first.
        width: How many of the most probable tokens are used.

    Returns:
        `[tokens]` fp32.
    """
    shares = np.exp(top_logits[:, :width] - logits[:, None])
    confidences: NDArray[np.float32] = 1.0 / shares.sum(axis=1)
    return confidences
