"""Decides which of a row's candidates is drawn: the rules of `Kernels.sample`, in numpy.

The host also uses these functions where the candidates are the whole vocabulary or were penalised. Comparisons are on
fp32 values; exponentials, logarithms and sums are computed in fp64 and rounded to fp32 where a value is kept, so that
every implementation gets the same bits.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .philox import KEY_STEPS, MULTIPLIERS, ROUNDS

_LOW = 0xFFFFFFFF


class PickParams(NamedTuple):
    """How each row samples, as arrays of `[rows]`; see `SampleParams`.

    Attributes:
        temperature: fp32.
        top_k: Integers.
        top_p: fp64.
        min_p: fp32.
        key: int64.
        position: int64.
    """

    temperature: NDArray[np.float32]
    top_k: NDArray[Any]
    top_p: NDArray[np.float64]
    min_p: NDArray[np.float32]
    key: NDArray[np.int64]
    position: NDArray[np.int64]

    def select(self, rows: NDArray[np.int64]) -> PickParams:
        """The rows with indices `rows`."""
        temperature, top_k, top_p, min_p, key, position = self
        return PickParams(temperature[rows], top_k[rows], top_p[rows], min_p[rows], key[rows], position[rows])


class Pick(NamedTuple):
    """The drawn candidate of each row.

    Attributes:
        column: `[rows]` int64, index of the drawn token among the row's candidates.
        settled: `[rows]` bool; False where the candidates are not enough to decide the choice.
        kept: `[rows]`, how many of the row's first candidates the token was drawn from.
    """

    column: NDArray[np.int64]
    settled: NDArray[np.bool_]
    kept: NDArray[Any]


@np.errstate(divide="ignore", over="ignore", invalid="ignore")  # in greedy rows, and in rows whose result is undefined
def pick(
    ids: NDArray[np.int64],
    logits: NDArray[np.float32],
    certain: NDArray[Any],
    scaled_lse: NDArray[np.float32],
    limits: PickParams,
    complete: bool = False,
) -> Pick:
    """Scale, truncate and draw, exactly as on the full vocabulary or not at all.

    The draw is the Gumbel-max of `Kernels.lm_head_topk` over the tokens that survive truncation, with the same noise
    per token, so that it does not matter how many candidates there were.

    Args:
        ids: `[rows, k]`.
        logits: `[rows, k]`, best first.
        certain: `[rows]`, how many of its first candidates a row may use: those that no other token can overtake.
        scaled_lse: `[rows]`, log-sum-exp of all logits / temperature; NaN where it is unknown.
        limits: How each row samples.
        complete: Whether the candidates are the whole vocabulary.
    """
    greedy = limits.temperature == 0
    divisor: NDArray[np.float32] = np.where(greedy, np.float32(1), limits.temperature)
    scaled = logits / divisor[:, None]
    # Candidates are sorted, so every truncation keeps the first few, or none if it cannot be decided.
    limited = (limits.top_k > 0) & (limits.top_k <= certain)
    kept = np.where(limited, limits.top_k, certain)
    settled = greedy | limited | complete
    if (limits.top_p < 1).any():
        kept, reached = _nucleus(scaled, scaled_lse, limits, kept, limited | complete)
        settled |= reached
    if (limits.min_p > 0).any():
        # Relative to the best token, hence independent of the normalisation.
        floor = scaled[:, 0] + np.log(limits.min_p, dtype=np.float64).astype(np.float32)  # -inf if there is no limit
        probable = (scaled >= floor[:, None]).sum(axis=1)
        kept = np.minimum(kept, probable)
        settled |= probable < certain
    kept = np.where(greedy, np.minimum(certain, 1), kept)
    return Pick(_draw(ids, scaled, kept, limits), settled & (kept > 0), kept)


def _nucleus(
    scaled: NDArray[np.float32],
    scaled_lse: NDArray[np.float32],
    limits: PickParams,
    kept: NDArray[Any],
    everything: NDArray[np.bool_],
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """How many of the `kept` candidates remain after top-p, and whether their probabilities reach it; `[rows]` each.

    The nucleus is that of the whole vocabulary if its log-sum-exp is known and there is no top-k. Otherwise it is that
    of the `kept` candidates, if these are `everything` that remains. For a full row the same sum is used as for its
    candidates, so both give the same decision.
    """
    best = scaled[:, 0]
    inside = np.arange(scaled.shape[1]) < kept[:, None]
    exponents: NDArray[np.float32] = np.where(inside, scaled - best[:, None], np.float32(-np.inf))
    weights = np.exp(exponents, dtype=np.float64).astype(np.float32)
    # `cumsum` adds one column after the other, so a row's sums do not depend on how many columns follow, which is up to
    # the widest row. `sum` adds the columns in blocks that depend on their number.
    reached = weights.cumsum(axis=1, dtype=np.float64)
    mass = reached[:, -1]
    whole = np.exp(scaled_lse - best, dtype=np.float64).astype(np.float32)
    of_all = (limits.top_k == 0) & ~np.isnan(scaled_lse)
    total = np.where(of_all, whole, np.where(everything, mass, np.nan))
    enough = limits.top_p * total
    # All candidates whose cumulative sum is below `enough`, and the next one; none if the total is unknown.
    within = (enough > 0) + (reached[:, :-1] < enough[:, None]).sum(axis=1)
    nucleus = limits.top_p < 1
    return np.where(nucleus, np.minimum(kept, within), kept), nucleus & (mass >= enough)


def _draw(
    ids: NDArray[np.int64], scaled: NDArray[np.float32], kept: NDArray[Any], limits: PickParams
) -> NDArray[np.int64]:
    """The column, among the first `kept` of each row, whose scaled logit and noise have the largest sum; `[rows]`."""
    reach = kept.max(initial=0)
    if reach <= 1:
        return np.zeros(len(ids), np.int64)
    score = scaled[:, :reach] + gumbel(limits.key, limits.position, ids[:, :reach])
    column: NDArray[np.int64] = np.where(np.arange(reach) < kept[:, None], score, -np.inf).argmax(axis=1)
    return column


def gumbel(key: NDArray[np.int64], position: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """The noise of a few candidates, equal to that of `philox.gumbel` up to the last bit of a logarithm.

    Args:
        key: `[rows]`, Philox keys.
        position: `[rows]`, absolute positions of the tokens to be drawn.
        ids: `[rows, n]`, token ids.

    Returns:
        `[rows, n]`.
    """
    word = np.choose(ids & 3, _philox(ids >> 2, position, key))
    uniform = np.minimum(((word + 0.5) * 2.0**-32).astype(np.float32), np.float32(1 - 2.0**-24))
    exponential = -np.log1p(-uniform, dtype=np.float64).astype(np.float32)
    noise: NDArray[np.float32] = -np.log(exponential, dtype=np.float64).astype(np.float32)
    return noise


def _philox(block: NDArray[np.int64], position: NDArray[np.int64], key: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The four words of `philox(counter=(block, position, 0, 0), key)`, for `[rows, n]` blocks and `[rows]` the rest.

    All counters are packed into big integers, with 64 bits for each word of 32, so that no product leaves its lane. For
    a few dozen counters this takes a quarter of the time of the same array operations. It also runs less code, which a
    decode step has evicted from the processor's caches.
    """
    lanes, columns = block.size, block.shape[1]
    ones = int.from_bytes((1).to_bytes(8, sys.byteorder) * lanes, sys.byteorder)
    low = ones * _LOW
    step0, step1 = ones * KEY_STEPS[0], ones * KEY_STEPS[1]
    k = _packed(key.repeat(columns))
    k0, k1 = k & low, (k >> 32) & low
    c0, c1, c2, c3 = _packed(block), _packed(position.repeat(columns)), 0, 0
    for _ in range(ROUNDS):
        product0, product1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = ((product1 >> 32) & low) ^ c1 ^ k0, product1 & low
        c2, c3 = ((product0 >> 32) & low) ^ c3 ^ k1, product0 & low
        k0, k1 = (k0 + step0) & low, (k1 + step1) & low
    words = [np.frombuffer(c.to_bytes(8 * lanes, sys.byteorder), np.int64) for c in (c0, c1, c2, c3)]
    return [word.reshape(block.shape) for word in words]


def _packed(lanes: NDArray[np.int64]) -> int:
    return int.from_bytes(lanes.tobytes(), sys.byteorder)
