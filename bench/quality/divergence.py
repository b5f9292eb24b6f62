"""How far other predictions of real text are from exact ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from marcot.engine.evaluation import Interval
from numpy.typing import NDArray

from .intervals import mean_of_tokens
from .rater import Rater

_ROWS = 64
"""Rows of the vocabulary that are compared at a time: at 151,936 tokens in fp64 each matrix takes 78 MB."""


class Divergence(NamedTuple):
    """Two predictions of the same tokens, exact and other.

    Attributes:
        kl: `[tokens]` fp64, `KL(exact || other)` over the whole vocabulary, in nats.
        exact_nll: `[tokens]` fp64, negative log-probability of the token that followed.
        other_nll: `[tokens]` fp64, the same by the other.
        same_top: `[tokens]` fp64, 1 where both find the same token most probable, else 0.
    """

    kl: NDArray[np.float64]
    exact_nll: NDArray[np.float64]
    other_nll: NDArray[np.float64]
    same_top: NDArray[np.float64]

    @staticmethod
    def joined(parts: Sequence[Divergence]) -> Divergence:
        """All tokens of `parts`, in order."""
        return Divergence(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class Summary(NamedTuple):
    """A divergence in a few numbers; intervals are of 95 %, and None for fewer than a few hundred tokens.

    Attributes:
        tokens: Predictions compared.
        kl: Mean `KL(exact || other)` in nats.
        kl_interval: Of the mean.
        kl_median: Median.
        kl_99: 99th percentile.
        kl_max: Largest.
        same_top: Share of the predictions in which both find the same token most probable.
        same_top_interval: Of that share.
        exact_perplexity: `exp` of the mean negative log-probability.
        other_perplexity: The same of the other.
        perplexity_ratio: Other over exact.
        perplexity_ratio_interval: Of that ratio.
    """

    tokens: int
    kl: float
    kl_interval: Interval | None
    kl_median: float
    kl_99: float
    kl_max: float
    same_top: float
    same_top_interval: Interval | None
    exact_perplexity: float
    other_perplexity: float
    perplexity_ratio: float
    perplexity_ratio_interval: Interval | None

    @staticmethod
    def of(divergence: Divergence) -> Summary:
        """Sum `divergence` up."""
        kl, exact_nll, other_nll, same_top = divergence
        worse = mean_of_tokens(other_nll - exact_nll)
        return Summary(
            len(kl),
            float(kl.mean()),
            mean_of_tokens(kl),
            float(np.median(kl)),
            float(np.quantile(kl, 0.99)),
            float(kl.max()),
            float(same_top.mean()),
            mean_of_tokens(same_top),
            math.exp(exact_nll.mean()),
            math.exp(other_nll.mean()),
            math.exp((other_nll - exact_nll).mean()),
            None if worse is None else Interval(math.exp(worse.low), math.exp(worse.high)),
        )


def compare(exact: Rater, others: Mapping[str, Rater], ids: Sequence[int]) -> dict[str, Divergence]:
    """Let each of `others` predict the tokens of `ids` after the first one, beside `exact`."""
    states = exact.read(ids)
    other_states = {name: rater.read(ids) for name, rater in others.items()}
    following = torch.tensor(ids[1:])[:, None]
    parts: dict[str, list[Divergence]] = {name: [] for name in others}
    for first in range(0, len(following), _ROWS):
        targets = following[first : first + _ROWS]
        rows = slice(first, first + len(targets))
        wanted = exact.log_probabilities(states[rows])
        probabilities = wanted.exp()
        for name, rater in others.items():
            found = rater.log_probabilities(other_states[name][rows])
            columns = (
                (probabilities * (wanted - found)).sum(dim=1),
                -wanted.gather(1, targets)[:, 0],
                -found.gather(1, targets)[:, 0],
                (wanted.argmax(dim=1) == found.argmax(dim=1)).double(),
            )
            parts[name].append(Divergence(*(column.numpy() for column in columns)))
    return {name: Divergence.joined(chunks) for name, chunks in parts.items()}
