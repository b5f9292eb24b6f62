"""Which of a row's best tokens is drawn: the rules of `Kernels.sample`, in numpy.

The host decides by them as well, where the candidates are the whole vocabulary or were penalised. Comparisons are on
fp32 values; exponentials, logarithms and sums are taken in fp64 and rounded to fp32 where a value is kept, so that
every implementation finds the same bits.
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


class Pick(NamedTuple):
    """What was drawn.

    Attributes:
        column: `[rows]` int64, its place among the candidates.
        settled: `[rows]` bool; False where the candidates do not settle the choice.
        kept: `[rows]`, how many of its first candidates it was drawn from.
    """

    column: NDArray[np.int64]
    settled: NDArray[np.bool_]
    kept: NDArray[Any]


@np.errstate(divide="ignore", over="ignore", invalid="ignore")  # rows whose choice is greedy, or means nothing
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
        scaled_lse: `[rows]`, log-sum-exp of all logits / temperature; NaN where it is not known.
        limits: How each row samples.
        complete: Whether the candidates are the whole vocabulary.
    """
    greedy = limits.temperature == 0
    divisor: NDArray[np.float32] = np.where(greedy, np.float32(1), limits.temperature)
    scaled = logits / divisor[:, None]
    # Candidates are sorted, so that every truncation keeps the first few; none where it cannot be decided.
    limited = (limits.top_k > 0) & (limits.top_k <= certain)
    kept = np.where(limited, limits.top_k, certain)
    settled = greedy | limited | complete
    if (limits.top_p < 1).any():
        kept, reached = _nucleus(scaled, scaled_lse, limits, kept, limited | complete)
        settled |= reached
    if (limits.min_p > 0).any():
        # Relative to the best token, hence independent of the normalisation.
        floor = scaled[:, 0] + np.log(limits.min_p, dtype=np.float64).astype(np.float32)  # -inf without a limit
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

    The nucleus is that of the whole vocabulary, where the LM head knows its sum and no top-k comes before, else of the
    `kept` candidates, where they are `everything` that remains. A full row is decided on by the same sum, and so as
    its candidates are.
    """
    best = scaled[:, 0]
    inside = np.arange(scaled.shape[1]) < kept[:, None]
    exponents: NDArray[np.float32] = np.where(inside, scaled - best[:, None], np.float32(-np.inf))
    weights = np.exp(exponents, dtype=np.float64).astype(np.float32)
    # A cumulative sum adds one column after the other: what a row has reached does not depend on the columns behind,
    # which are as many as the widest row needs. `sum` adds them in blocks that do.
    reached = weights.cumsum(axis=1, dtype=np.float64)
    mass = reached[:, -1]
    whole = np.exp(scaled_lse - best, dtype=np.float64).astype(np.float32)
    of_all = (limits.top_k == 0) & ~np.isnan(scaled_lse)
    total = np.where(of_all, whole, np.where(everything, mass, np.nan))
    enough = limits.top_p * total
    # All that have reached less, and the one that comes after them; none where the total is not known.
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
    """The noise of a few candidates: that of `philox.gumbel`, up to the last bit of a logarithm.

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

    All counters lie side by side in big integers, 64 bits for each word of 32, so that no product leaves its lane. On
    a few dozen counters this takes a quarter of the time of as many array operations, and less code that a decode step
    has driven out of the processor's caches.
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
