"""The choice of the next token from the candidates that the LM head kept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels.reference.pick import PickParams, pick


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


class TokenChoice(NamedTuple):
    """What was chosen.

    Attributes:
        ids: `[rows]` int64.
        logits: `[rows]` fp32, raw logits of the chosen tokens.
        exact: `[rows]` bool; False where the candidates do not settle the choice: decide on the full row.
    """

    ids: NDArray[np.int64]
    logits: NDArray[np.float32]
    exact: NDArray[np.bool_]

    def put(self, rows: NDArray[np.int64], other: TokenChoice) -> None:
        """Write what `other` has chosen for the rows with these indices."""
        self.ids[rows], self.logits[rows], self.exact[rows] = other


def choose(candidates: Candidates, rows: SamplingRows) -> TokenChoice:
    """Penalise, and draw as `kernels.reference.pick` specifies, exactly as on the full vocabulary or not at all."""
    ids, raw, logits, certain = _penalise(candidates, rows)
    scaled_lse = candidates.scaled_lse
    if any(rows.seen):  # what the LM head knows of the whole vocabulary is of no use once some tokens are penalised
        scaled_lse = np.where(rows.penalty == 1, scaled_lse, np.float32(np.nan))
    limits = PickParams(rows.temperature, rows.top_k, rows.top_p, rows.min_p, rows.key, rows.position)
    column, settled = pick(ids, logits, certain, scaled_lse, limits, candidates.complete)
    each = np.arange(len(ids))
    return TokenChoice(ids[each, column], raw[each, column], settled)


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
