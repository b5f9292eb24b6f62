"""Compares predictions of real text with those of exact mode."""

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
"""Tokens compared at a time: with a vocabulary of 151,936, each matrix takes 78 MB in fp64."""


class Divergence(NamedTuple):
    """Differences between the predictions of exact mode and another mode for the same tokens.

    Attributes:
        kl: `[tokens]` fp64, `KL(exact || other)` over the whole vocabulary, in nats.
        exact_nll: `[tokens]` fp64, negative log-probability of the actual next token, in exact mode.
        other_nll: `[tokens]` fp64, the same in the other mode.
        same_top: `[tokens]` fp64, 1 where both modes have the same most probable token, else 0.
    """

    kl: NDArray[np.float64]
    exact_nll: NDArray[np.float64]
    other_nll: NDArray[np.float64]
    same_top: NDArray[np.float64]

    @staticmethod
    def joined(parts: Sequence[Divergence]) -> Divergence:
        """Concatenate `parts`."""
        return Divergence(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class Summary(NamedTuple):
    """Summary statistics of a divergence. Intervals are 95 %, and None for fewer than a few hundred tokens.

    Attributes:
        tokens: Predictions compared.
        kl: Mean `KL(exact || other)` in nats.
        kl_interval: Interval of the mean.
        kl_median: Median KL.
        kl_99: 99th percentile of KL.
        kl_max: Largest KL.
        same_top: Fraction of predictions with the same most probable token.
        same_top_interval: Interval of that fraction.
        exact_perplexity: `exp` of the mean negative log-probability.
        other_perplexity: The same in the other mode.
        perplexity_ratio: Other perplexity divided by exact.
        perplexity_ratio_interval: Interval of that ratio.
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
        """Summarise `divergence`."""
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
    """Predict all tokens of `ids` but the first with `exact` and with each of `others`, and compare."""
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
