"""One new token for each of many branches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..kernels import Draw
from ..model import Decoder
from .branch import Branch
from .kv_node import Distribution
from .sampler import Candidates, Choice, SamplingRows, choose


class Drawer:
    """Draws tokens with the LM head of one decoder."""

    def __init__(self, decoder: Decoder) -> None:
        """Draw with `decoder`'s head and op set."""
        self._decoder = decoder
        self._vocab = decoder.head.out_features

    @torch.inference_mode()
    def from_hidden(self, branches: Sequence[Branch], hidden: Tensor) -> None:
        """Append a token to each branch, given the hidden state before it (`[branches, hidden]`).

        A branch's first token leaves what it was drawn from at the fork, for others to draw from.
        """
        device = hidden.device
        rows = _sampling_rows(branches, device)
        pure = torch.tensor([not (b.sampling.greedy or b.sampling.truncated) for b in branches], device=device)
        nucleus = (rows.temperature > 0) & (rows.top_k == 0) & (rows.top_p < 1)
        streamed = pure | nucleus
        temperature = torch.where(streamed, rows.temperature, 0.0)
        head = self._decoder.kernels.lm_head_topk(
            hidden,
            self._decoder.head,
            min(max(branch.width for branch in branches), self._vocab),
            draw=Draw(temperature, rows.key, rows.position) if bool(streamed.any()) else None,
        )
        unknown = torch.full_like(head.lse, torch.nan)
        scaled_lse = unknown if head.scaled_lse is None else torch.where(streamed, head.scaled_lse, unknown)
        width = _widths(branches, head.top_ids)
        choice = choose(Candidates(head.top_ids, head.top_logits, width, scaled_lse, complete=False), rows)
        if head.drawn_ids is not None and head.drawn_logits is not None:
            choice = Choice(
                torch.where(pure, head.drawn_ids, choice.ids),
                torch.where(pure, head.drawn_logits, choice.logits),
                pure | choice.exact,
            )
        choice = self._settle(branches, hidden, rows, choice)
        for row, branch in enumerate(branches):
            if not branch.node.tokens:
                kept = (head.top_ids[row].clone(), head.top_logits[row].clone(), head.lse[row].clone())
                branch.fork.distribution = Distribution(*kept)
        _append(branches, choice, head.top_ids, head.top_logits, head.lse)

    @torch.inference_mode()
    def from_distributions(self, branches: Sequence[Branch]) -> None:
        """Append its first token to each branch, from the distribution that its fork keeps (`Branch.knows_first`)."""
        kept = [branch.fork.distribution for branch in branches]
        columns = max(branch.width for branch in branches)
        device = self._decoder.device
        ids = torch.zeros(len(branches), columns, dtype=torch.int64, device=device)
        logits = torch.full((len(branches), columns), -torch.inf, device=device)
        lse = torch.empty(len(branches), device=device)
        for row, (branch, distribution) in enumerate(zip(branches, kept, strict=True)):
            assert distribution is not None
            ids[row, : branch.width] = distribution.top_ids[: branch.width]
            logits[row, : branch.width] = distribution.top_logits[: branch.width]
            lse[row] = distribution.lse
        unknown = torch.full_like(lse, torch.nan)
        rows = _sampling_rows(branches, device)
        choice = choose(Candidates(ids, logits, _widths(branches, ids), unknown, complete=False), rows)
        _append(branches, choice, ids, logits, lse)

    def _settle(self, branches: Sequence[Branch], hidden: Tensor, rows: SamplingRows, choice: Choice) -> Choice:
        """Decide on the full row of logits where the candidates were too few."""
        open_rows = (~choice.exact).nonzero()[:, 0]
        if not len(open_rows):
            return choice
        for row in open_rows.tolist():
            branches[row].usage.full_rows += 1
        logits = self._decoder.kernels.linear(hidden[open_rows], self._decoder.head).float()
        sorted_logits, ids = logits.sort(dim=1, descending=True, stable=True)
        width = torch.full_like(open_rows, self._vocab)
        unknown = torch.full((len(open_rows),), torch.nan, device=hidden.device)
        settled = choose(Candidates(ids, sorted_logits, width, unknown, complete=True), rows.select(open_rows))
        choice.ids[open_rows], choice.logits[open_rows] = settled.ids, settled.logits
        return choice


def _widths(branches: Sequence[Branch], ids: Tensor) -> Tensor:
    return torch.tensor([min(branch.width, ids.shape[1]) for branch in branches], device=ids.device)


def _sampling_rows(branches: Sequence[Branch], device: torch.device) -> SamplingRows:
    """Collect the sampling parameters of `branches`, one row each."""
    samplings = [branch.sampling for branch in branches]

    def column(values: list[float] | list[int], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    return SamplingRows(
        column([s.temperature for s in samplings], torch.float32),
        column([s.top_k for s in samplings], torch.int64),
        column([s.top_p for s in samplings], torch.float32),
        column([s.min_p for s in samplings], torch.float32),
        column([s.repetition_penalty for s in samplings], torch.float32),
        [None if b.seen is None else column(sorted(b.seen), torch.int64) for b in branches],
        column([branch.key for branch in branches], torch.int64),
        column([branch.node.end for branch in branches], torch.int64),
    )


def _append(branches: Sequence[Branch], choice: Choice, top_ids: Tensor, top_logits: Tensor, lse: Tensor) -> None:
    ids, logits, normalisers = choice.ids.tolist(), choice.logits.tolist(), lse.tolist()
    id_rows, logit_rows = top_ids.cpu().numpy(), top_logits.cpu().numpy()
    for row, branch in enumerate(branches):
        branch.draw(ids[row], logits[row], normalisers[row], id_rows[row], logit_rows[row])
