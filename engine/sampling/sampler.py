"""Chooses the next token from the candidates that the LM head returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels.reference.pick import Pick, PickParams, pick
from .logit_rules import LogitRules


class Candidates(NamedTuple):
    """The most probable next tokens of each row.

    Attributes:
        ids: `[rows, k]` int64, best first.
        logits: `[rows, k]` fp32, raw.
        width: `[rows]` int64, how many candidates each row may use, so that other rows with more have no influence.
        scaled_lse: `[rows]` fp32, log-sum-exp of all logits / temperature; NaN where unknown.
        complete: Whether the candidates are the whole vocabulary.
    """

    ids: NDArray[np.int64]
    logits: NDArray[np.float32]
    width: NDArray[np.int64]
    scaled_lse: NDArray[np.float32]
    complete: bool

    def select(self, rows: NDArray[np.int64]) -> Candidates:
        """The rows with indices `rows`."""
        return Candidates(
            self.ids[rows], self.logits[rows], self.width[rows], self.scaled_lse[rows], complete=self.complete
        )


class SamplingRows(NamedTuple):
    """How each row samples.

    Attributes:
        params: The parameters, with fp32 `temperature` (0 is greedy) and int64 `top_k` (0 keeps all).
        rules: Logit rules of each row, or None.
    """

    params: PickParams
    rules: Sequence[LogitRules | None]

    def select(self, rows: NDArray[np.int64]) -> SamplingRows:
        """The rows with indices `rows`."""
        return SamplingRows(self.params.select(rows), [self.rules[row] for row in rows.tolist()])


class TokenChoice(NamedTuple):
    """The chosen tokens.

    Attributes:
        ids: `[rows]` int64.
        logits: `[rows]` fp32, raw logits of the chosen tokens.
        exact: `[rows]` bool; False where the candidates do not settle the choice, so that the full row is needed, or
            where no token is left.
    """

    ids: NDArray[np.int64]
    logits: NDArray[np.float32]
    exact: NDArray[np.bool_]

    def put(self, rows: NDArray[np.int64], other: TokenChoice) -> None:
        """Replace the choices of the rows with these indices by those of `other`."""
        self.ids[rows], self.logits[rows], self.exact[rows] = other


class Processed(NamedTuple):
    """The distribution that a token was drawn from.

    Attributes:
        logit: fp32, the token's logit / temperature.
        lse: fp32, log-sum-exp of logit / temperature over all tokens that could be drawn.
        top_ids: `[k]` int64, the most probable tokens, best first.
        top_logits: `[k]` fp32, their logits / temperature; -inf for tokens that could not be drawn.
    """

    logit: np.float32
    lse: np.float32
    top_ids: NDArray[np.int64]
    top_logits: NDArray[np.float32]


def choose(candidates: Candidates, rows: SamplingRows) -> TokenChoice:
    """Apply the rules and draw a token per row, as `kernels.reference.pick` specifies.

    The result is `exact` only if the full vocabulary would give the same token, and if the rules leave any token.
    """
    ids, raw, logits, certain = _ruled(candidates, rows)
    column, settled, _ = _pick(ids, logits, certain, candidates, rows)
    each = np.arange(len(ids))
    return TokenChoice(ids[each, column], raw[each, column], settled & (logits[:, 0] > -np.inf))


def processed(candidates: Candidates, rows: SamplingRows, columns: int) -> list[Processed]:
    """The distribution that each row draws from, with this many columns.

    `candidates` must be complete. For greedy rows, it is the distribution before it is narrowed to the best token.
    """
    ids, _, logits, certain = _ruled(candidates, rows)
    column, _, kept = _pick(ids, logits, certain, candidates, rows)
    found = []
    for row, temperature in enumerate(rows.params.temperature):
        scaled = logits[row] / (temperature or np.float32(1))
        if temperature > 0:
            scaled[kept[row] :] = -np.inf
        lse = scaled[0] + np.log(np.exp(scaled - scaled[0], dtype=np.float64).sum())
        found.append(Processed(scaled[column[row]], np.float32(lse), ids[row, :columns], scaled[:columns]))
    return found


def _pick(
    ids: NDArray[np.int64],
    logits: NDArray[np.float32],
    certain: NDArray[np.int64],
    candidates: Candidates,
    rows: SamplingRows,
) -> Pick:
    is_ruled = [rules is not None for rules in rows.rules]
    # The LM head's log-sum-exp is not valid where rules have changed logits.
    scaled_lse = np.where(is_ruled, np.float32(np.nan), candidates.scaled_lse)
    return pick(ids, logits, certain, scaled_lse, rows.params, candidates.complete)


def _ruled(
    candidates: Candidates, rows: SamplingRows
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Apply the rules and sort again.

    Returns:
        Ids, raw logits and changed logits, each `[rows, k]`; and `[rows]`, how many of a row's first candidates are
        certainly its most probable tokens, because no token outside the candidates can overtake them.
    """
    ids, raw, width = candidates.ids, candidates.logits, candidates.width
    if all(rules is None for rules in rows.rules):
        return ids, raw, raw, width
    logits = np.where(np.arange(ids.shape[1]) < width[:, None], raw, np.float32(-np.inf))
    certain = width.copy()
    for row, rules in enumerate(rows.rules):
        if rules is None:
            continue
        logits[row] = rules.applied(ids[row], logits[row])
        if not candidates.complete:
            # If rules only lower logits, tokens outside the candidates stay below the last candidate's raw logit.
            certain[row] = (logits[row] >= raw[row, width[row] - 1]).sum() if rules.lowers else 0
    order = np.argsort(-logits, axis=1, kind="stable")
    ids, raw, logits = (np.take_along_axis(field, order, axis=1) for field in (ids, raw, logits))
    return ids, raw, logits, certain
