"""Chooses the next token of each row among its candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..sampling import MOST_LOGIT, HeadTopK, Sampled, SampleParams
from .pick import PickParams, pick


def sample(head: HeadTopK, params: SampleParams) -> Sampled:
    """Choose on the host. See `Kernels.sample`."""
    ids, logits, lse = _host(head.top_ids), _host(head.top_logits), _host(head.lse)
    temperature, top_k, top_p, min_p, width, key, position = map(_host, params)
    rows, k = ids.shape
    each = np.arange(rows)
    width = np.minimum(width, k)
    scaled_lse = np.full_like(lse, np.nan) if head.scaled_lse is None else _host(head.scaled_lse)
    column, settled, _ = pick(
        ids, logits, width, scaled_lse, PickParams(temperature, top_k, top_p, min_p, key, position)
    )
    chosen, chosen_logits = ids[each, column], logits[each, column]
    if head.drawn_ids is not None and head.drawn_logits is not None:
        pure = (temperature > 0) & (top_k == 0) & (top_p >= 1) & (min_p <= 0)
        chosen = np.where(pure, _host(head.drawn_ids), chosen)
        chosen_logits = np.where(pure, _host(head.drawn_logits), chosen_logits)
        settled = settled | pure
    lowest = logits[each, np.maximum(width, 1) - 1]
    settled &= (width > 0) & (np.maximum(np.abs(lse), np.abs(lowest)) < MOST_LOGIT)  # False for NaN
    return Sampled(*(torch.from_numpy(part).to(head.lse.device) for part in (chosen, chosen_logits, settled)))


def _host(tensor: Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()
