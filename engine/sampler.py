"""The choice of the next token from the candidates that the LM head kept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .noise import gumbel


class Candidates(NamedTuple):
    """The most probable next tokens of each row.

    Attributes:
        ids: `[rows, k]` int64, best first.
        logits: `[rows, k]` fp32, raw.
        width: `[rows]` int64, how many of them a row may use, so that a wider neighbour changes nothing.
        scaled_lse: `[rows]` fp32, log-sum-exp of all logits / temperature; NaN where it is not known.
        complete: Whether the candidates are the whole vocabulary.
    """

    ids: NDArray[np.int64]
    logits: NDArray[np.float32]
    width: NDArray[np.int64]
    scaled_lse: NDArray[np.float32]
    complete: bool


class SamplingRows(NamedTuple):
    """The sampling parameters of each row, as arrays of `[rows]`.

    Attributes:
        temperature: fp32; 0 is greedy.
        top_k: int64; 0 keeps all.
        top_p: fp64.
        min_p: fp32.
        penalty: fp32, repetition penalty.
        seen: Per row the distinct tokens on its path, for the penalty; None where the penalty is off.
        key: int64, Philox key.
        position: int64, absolute position of the token to be drawn.
    """

    temperature: NDArray[np.float32]
    top_k: NDArray[np.int64]
    top_p: NDArray[np.float64]
    min_p: NDArray[np.float32]
    penalty: NDArray[np.float32]
    seen: list[set[int] | None]
    key: NDArray[np.int64]
    position: NDArray[np.int64]

    def select(self, rows: NDArray[np.int64]) -> SamplingRows:
        """The rows with indices `rows`."""
        return SamplingRows(
            self.temperature[rows],
            self.top_k[rows],
            self.top_p[rows],
            self.min_p[rows],
            self.penalty[rows],
            [self.seen[row] for row in rows.tolist()],
            self.key[rows],
            self.position[rows],
        )


class Choice(NamedTuple):
    """What was chosen.

    Attributes:
        ids: `[rows]` int64.
        logits: `[rows]` fp32, raw logits of the chosen tokens.
        exact: `[rows]` bool; False where the candidates do not settle the choice: decide on the full row.
    """

    ids: NDArray[np.int64]
    logits: NDArray[np.float32]
    exact: NDArray[np.bool_]


def choose(candidates: Candidates, rows: SamplingRows) -> Choice:
    """Penalise, scale, truncate and draw, exactly as on the full vocabulary or not at all.

    The draw is the Gumbel-max of `Kernels.lm_head_topk` over the tokens that survive truncation, with the same noise
    per token, so that it does not matter how many candidates there were.
    """
    ids, raw, logits, certain = _penalise(candidates, rows)
    greedy = rows.temperature == 0
    divisor: NDArray[np.float32] = np.where(greedy, np.float32(1), rows.temperature)
    scaled = logits / divisor[:, None]
    # Candidates are sorted, so that every truncation keeps the first few; none where it cannot be decided.
    limited = (rows.top_k > 0) & (rows.top_k <= certain)
    kept = np.where(limited, rows.top_k, certain)
    settled = greedy | limited | candidates.complete
    if (rows.top_p < 1).any():
        kept, reached = _nucleus(candidates, rows, scaled, kept, limited)
        settled |= reached
    if (rows.min_p > 0).any():
        # Relative to the best token, hence independent of the normalisation.
        with np.errstate(divide="ignore"):  # log 0 is where there is no limit
            floor = scaled[:, 0] + np.log(rows.min_p)
        probable = (scaled >= floor[:, None]).sum(axis=1)
        kept = np.minimum(kept, probable)
        settled |= probable < certain
    kept = np.where(greedy, np.minimum(certain, 1), kept)
    pick = _draw(ids, scaled, kept, rows)
    each = np.arange(len(ids))
    return Choice(ids[each, pick], raw[each, pick], settled & (kept > 0))


def _nucleus(
    candidates: Candidates,
    rows: SamplingRows,
    scaled: NDArray[np.float32],
    kept: NDArray[np.int64],
    limited: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """How many of the `kept` candidates remain after top-p, and whether their probabilities reach it; `[rows]` each.

    The nucleus is that of the top-k where these are among the candidates (`limited`), else of the whole vocabulary,
    whose sum the LM head knows; the full row is decided on by the same sum, and so as the candidates are.
    """
    best = scaled[:, 0]
    weights = np.where(np.arange(scaled.shape[1]) < kept[:, None], np.exp(scaled - best[:, None]), np.float32(0))
    # A cumulative sum adds one column after the other: what a row has reached does not depend on the columns behind,
    # which are as many as the widest row needs. `sum` adds them in blocks that do.
    reached = weights.cumsum(axis=1, dtype=np.float64)
    mass = reached[:, -1]
    whole = (rows.top_k == 0) & (rows.penalty == 1)
    total = np.where(limited | candidates.complete, mass, np.nan)
    with np.errstate(over="ignore"):  # between huge logits, where nothing is settled by the candidates
        total = np.where(whole, np.exp(candidates.scaled_lse - best), total)
    enough = rows.top_p * total
    # All that have reached less, and the one that comes after them; none where the total is not known.
    within = (enough > 0) + (reached[:, :-1] < enough[:, None]).sum(axis=1)
    nucleus = rows.top_p < 1
    return np.where(nucleus, np.minimum(kept, within), kept), nucleus & (mass >= enough)


def _penalise(
    candidates: Candidates, rows: SamplingRows
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Apply the repetition penalty and sort again.

    Returns:
        Ids, raw logits and penalised logits, `[rows, k]` each, and per row how many of its first candidates no token
        outside can overtake, `[rows]`.
    """
    ids, raw, width = candidates.ids, candidates.logits, candidates.width
    if not any(rows.seen):
        return ids, raw, raw, width
    logits = np.where(np.arange(ids.shape[1]) < width[:, None], raw, np.float32(-np.inf))
    certain = width.copy()
    for row, seen in enumerate(rows.seen):
        if seen is None:
            continue
        penalty, values = rows.penalty[row], logits[row]
        repeated = np.array([token in seen for token in ids[row].tolist()])
        logits[row] = np.where(repeated, np.where(values > 0, values / penalty, values * penalty), values)
        if not candidates.complete:
            # A penalty above 1 only lowers: tokens outside stay below the last candidate's raw logit.
            certain[row] = (logits[row] >= raw[row, width[row] - 1]).sum() if penalty > 1 else 0
    order = np.argsort(-logits, axis=1, kind="stable")
    ids, raw, logits = (np.take_along_axis(field, order, axis=1) for field in (ids, raw, logits))
    return ids, raw, logits, certain


def _draw(
    ids: NDArray[np.int64], scaled: NDArray[np.float32], kept: NDArray[np.int64], rows: SamplingRows
) -> NDArray[np.int64]:
    """The column, among the first `kept` of each row, whose scaled logit and noise have the largest sum; `[rows]`."""
    reach = kept.max()
    if reach <= 1:
        return np.zeros(len(ids), np.int64)
    score = scaled[:, :reach] + gumbel(rows.key, rows.position, ids[:, :reach])
    pick: NDArray[np.int64] = np.where(np.arange(reach) < kept[:, None], score, -np.inf).argmax(axis=1)
    return pick
