"""The choice of the next token from the candidates that the LM head kept."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..kernels.reference.philox import gumbel


class Candidates(NamedTuple):
    """The most probable next tokens of each row.

    Attributes:
        ids: `[rows, k]` int64, best first.
        logits: `[rows, k]` fp32, raw.
        width: `[rows]` int64, how many of them a row may use, so that a wider neighbour changes nothing.
        scaled_lse: `[rows]` fp32, log-sum-exp of all logits / temperature; NaN where it is not known.
        complete: Whether the candidates are the whole vocabulary.
    """

    ids: Tensor
    logits: Tensor
    width: Tensor
    scaled_lse: Tensor
    complete: bool


class SamplingRows(NamedTuple):
    """The sampling parameters of each row, as tensors of `[rows]`.

    Attributes:
        temperature: fp32; 0 is greedy.
        top_k: int64; 0 keeps all.
        top_p: fp32.
        min_p: fp32.
        penalty: fp32, repetition penalty.
        seen: Per row the distinct tokens on its path, sorted, for the penalty; None where the penalty is off.
        key: int64, Philox key.
        position: int64, absolute position of the token to be drawn.
    """

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    penalty: Tensor
    seen: list[Tensor | None]
    key: Tensor
    position: Tensor

    def select(self, rows: Tensor) -> SamplingRows:
        """The rows with indices `rows` (int64)."""
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

    ids: Tensor
    logits: Tensor
    exact: Tensor


def choose(candidates: Candidates, rows: SamplingRows) -> Choice:
    """Penalise, scale, truncate and draw, exactly as on the full vocabulary or not at all.

    The draw is the Gumbel-max of `Kernels.lm_head_topk` over the tokens that survive truncation, with the same noise
    per token, so that it does not matter how many candidates there were.
    """
    ids, raw = candidates.ids, candidates.logits
    columns = torch.arange(ids.shape[1], device=ids.device)
    usable = columns < candidates.width[:, None]
    logits, certain = _penalise(candidates, rows, usable)
    order = logits.argsort(dim=1, descending=True, stable=True)
    ids, raw, logits = (field.gather(1, order) for field in (ids, raw, logits))

    greedy = rows.temperature == 0
    scaled = logits / torch.where(greedy, 1.0, rows.temperature)[:, None]
    in_top_k = columns < torch.where(rows.top_k > 0, rows.top_k, ids.shape[1] + 1)[:, None]
    kept = in_top_k & (columns < certain[:, None])
    limited = (rows.top_k > 0) & (rows.top_k <= certain)

    # Nucleus: of the top-k where that is on, else of the whole vocabulary, whose total only the kernel knows.
    total = scaled.masked_fill(~kept, -torch.inf).logsumexp(dim=1)
    if not candidates.complete:
        unlimited = torch.where((rows.top_k == 0) & (rows.penalty == 1), candidates.scaled_lse, torch.nan)
        total = torch.where(limited, total, unlimited)
    probabilities = torch.where(kept, (scaled - total[:, None]).exp(), 0.0)
    before = probabilities.cumsum(dim=1) - probabilities
    nucleus = rows.top_p < 1
    settled_by_p = nucleus & (probabilities.sum(dim=1) >= rows.top_p)
    kept &= ~nucleus[:, None] | (before < rows.top_p[:, None])

    # Relative to the best token, hence independent of the normalisation.
    floor = scaled[:, :1] + rows.min_p.log()[:, None]
    last = scaled.gather(1, (certain - 1).clamp(min=0)[:, None])[:, 0]
    settled_by_min_p = (rows.min_p > 0) & (last < floor[:, 0])
    kept &= scaled >= floor

    kept &= ~greedy[:, None] | (columns == 0)
    noise = gumbel(rows.key, rows.position, ids)
    score = torch.where(kept, scaled + torch.where(greedy[:, None], 0.0, noise), -torch.inf)
    pick = score.argmax(dim=1, keepdim=True)
    bounded = (settled_by_p | settled_by_min_p) & ~(nucleus & total.isnan())
    exact = (certain >= 1) & (greedy | limited | bounded | candidates.complete)
    return Choice(ids.gather(1, pick)[:, 0], raw.gather(1, pick)[:, 0], exact)


def _penalise(candidates: Candidates, rows: SamplingRows, usable: Tensor) -> tuple[Tensor, Tensor]:
    """Apply the repetition penalty; also count, per row, the candidates that no token outside can overtake."""
    logits = candidates.logits.masked_fill(~usable, -torch.inf)
    certain = candidates.width.clone()
    for row, seen in enumerate(rows.seen):
        if seen is None:
            continue
        penalty, values = rows.penalty[row], logits[row]
        repeated = torch.isin(candidates.ids[row], seen)
        logits[row] = torch.where(repeated, torch.where(values > 0, values / penalty, values * penalty), values)
        if not candidates.complete:
            # A penalty above 1 only lowers: tokens outside stay below the last candidate's raw logit.
            boundary = candidates.logits[row, candidates.width[row] - 1]
            certain[row] = (logits[row] >= boundary).sum() if penalty > 1 else 0
    return logits, certain
