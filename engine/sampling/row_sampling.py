"""The sampling parameters of a row as the device takes them (`SampleParams`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from ...kernels import SampleParams
from .sampling import Sampling


class RowSampling(NamedTuple):
    """One row of `SampleParams`, without its position, and its entry of `Draw.temperature`.

    Attributes:
        temperature: 0 is greedy.
        top_k: 0 keeps all.
        top_p: 1 keeps all.
        min_p: 0 keeps all.
        width: Number of candidates that the row may use; 0 leaves every choice to the host.
        key: Philox key.
        draw_temperature: Temperature of a draw over the whole vocabulary, or of its sum; 0 if the row needs neither.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    width: int = 0
    key: int = 0
    draw_temperature: float = 0.0

    @classmethod
    def of(cls, sampling: Sampling, key: int) -> Self:
        """The row of a branch with Philox key `key`. Logit rules are not included: the host applies them."""
        return cls(
            sampling.temperature,
            sampling.top_k,
            sampling.top_p,
            sampling.min_p,
            0 if sampling.on_host else sampling.candidates,
            key,
            sampling.temperature if sampling.streamed else 0.0,
        )


def sample_params(rows: Sequence[RowSampling], position: Tensor) -> tuple[SampleParams, Tensor | None]:
    """The parameters of `rows`, on the host, and `Draw.temperature`, or None if no row needs it.

    Args:
        rows: At least one row.
        position: `[rows]` int64, positions of the tokens to be drawn.
    """
    temperature, top_k, top_p, min_p, width, key, draw_temperature = zip(*rows, strict=True)
    params = SampleParams(
        _tensor(temperature, np.float32),
        _tensor(top_k, np.int32),
        _tensor(top_p, np.float64),
        _tensor(min_p, np.float32),
        _tensor(width, np.int32),
        _tensor(key, np.int64),
        position,
    )
    return params, _tensor(draw_temperature, np.float32) if any(draw_temperature) else None


def _tensor(values: Sequence[float], dtype: type[np.generic]) -> Tensor:
    return torch.from_numpy(np.array(values, dtype))
