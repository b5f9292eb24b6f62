"""Draws one new token for each of many branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels import MOST_LOGIT, Draw, HeadTopK, SampleParams
from ...kernels.reference.pick import PickParams
from ...model import Decoder, DrawnTokens
from ..errors import SamplingError
from ..kv.node import Distribution
from ..sampling.row_sampling import sample_params
from ..sampling.sampler import Candidates, Processed, SamplingRows, TokenChoice, choose, processed
from .branch import Branch
from .full_rows import FULL_ROWS, sorted_rows


class _Head(NamedTuple):
    """The LM head's results on the host; see `HeadTopK`.

    Attributes:
        top_ids: `[rows, k]` int64.
        top_logits: `[rows, k]` fp32.
        lse: `[rows]` fp32.
        scaled_lse: `[rows]` fp32; NaN where unknown.
    """

    top_ids: NDArray[np.int64]
    top_logits: NDArray[np.float32]
    lse: NDArray[np.float32]
    scaled_lse: NDArray[np.float32]

    @classmethod
    def of(cls, head: HeadTopK) -> Self:
        """Copy `head` to the host."""
        lse = _host(head.lse)
        scaled_lse = np.full_like(lse, np.nan) if head.scaled_lse is None else _host(head.scaled_lse)
        return cls(_host(head.top_ids), _host(head.top_logits), lse, scaled_lse)


class TokenDrawer:
    """Draws tokens with the LM head of one decoder.

    Most tokens are chosen on the decoder's device (`Kernels.sample`). The host decides the remaining rows: those with
    logit rules, those that record more than the candidates contain, and those with too few candidates. A row gets no
    token if its log-sum-exp, or a logit among the candidates of its branch, is NaN, infinite or nearly so.
    """

    def __init__(self, decoder: Decoder) -> None:
        """Draw tokens with the LM head and the op set of `decoder`."""
        self._decoder = decoder
        self._vocab = decoder.head.out_features

    def from_hidden(self, branches: Sequence[Branch], hidden: Tensor) -> list[Branch]:
        """Append a token to each branch, given the hidden state before it (`[branches, hidden]`).

        The distribution of a branch's first token is stored at the fork, so that other branches can draw from it. A
        branch whose rules ban every token ends with a `SamplingError`.

        Returns:
            The branches that got no token because their logits are not finite.
        """
        kernels, device = self._decoder.kernels, hidden.device
        position = torch.tensor([branch.node.end for branch in branches])
        params, draw_temperature = sample_params([branch.row_sampling for branch in branches], position)
        params = SampleParams(*(column.to(device) for column in params))
        draw = None if draw_temperature is None else Draw(draw_temperature.to(device), params.key, params.position)
        width = min(max(branch.width for branch in branches), self._vocab)
        results = kernels.lm_head_topk(hidden, self._decoder.head, width, draw=draw)
        choice = TokenChoice(*map(_host, kernels.sample(results, params)))
        head = _Head.of(results)
        finite = np.ones(len(branches), np.bool_)
        recorded: dict[int, Processed] = {}
        if not choice.exact.all():
            finite, recorded = self._decide_open_rows(branches, hidden, head, choice)
        drawn = DrawnTokens.of(choice.ids, choice.logits, head.lse, head.top_ids, head.top_logits).table
        ids = choice.ids.tolist()
        for row in np.flatnonzero(finite).tolist():
            branch, top_ids, top_logits = branches[row], head.top_ids[row], head.top_logits[row]
            if not branch.node.tokens:
                known = slice(np.isfinite(top_logits).sum())  # another row may have asked for more columns
                lse = float(head.lse[row])
                branch.fork.keep_distribution(Distribution(top_ids[known].copy(), top_logits[known].copy(), lse))
            if row in recorded:
                branch.take(ids[row : row + 1], _table_of(ids[row], recorded[row]))
            elif choice.exact[row]:
                branch.take(ids[row : row + 1], drawn[row : row + 1])
            else:
                branch.error = SamplingError(
                    f"no token may be drawn after {branch.node.end} tokens: allow more of them "
                    "(allowed_token_ids, bad_words, min_tokens)"
                )
        return [branches[row] for row in np.flatnonzero(~finite).tolist()]

    def from_distributions(self, branches: Sequence[Branch]) -> None:
        """Append its first token to each branch, from the distribution stored at its fork (`Branch.knows_first`)."""
        columns = max(branch.width for branch in branches)
        ids = np.zeros((len(branches), columns), np.int64)
        logits = np.full((len(branches), columns), -np.inf, np.float32)
        lse = np.empty(len(branches), np.float32)
        for row, branch in enumerate(branches):
            kept = branch.fork.distribution
            assert kept is not None
            ids[row, : branch.width] = kept.top_ids[: branch.width]
            logits[row, : branch.width] = kept.top_logits[: branch.width]
            lse[row] = kept.lse
        unknown = np.full_like(lse, np.nan)
        candidates = Candidates(ids, logits, _widths(branches, ids), unknown, complete=False)
        choice = choose(candidates, _sampling_rows(branches))
        drawn, chosen = DrawnTokens.of(choice.ids, choice.logits, lse, ids, logits).table, choice.ids.tolist()
        for row, branch in enumerate(branches):
            branch.take(chosen[row : row + 1], drawn[row : row + 1])

    def _decide_open_rows(
        self, branches: Sequence[Branch], hidden: Tensor, head: _Head, choice: TokenChoice
    ) -> tuple[NDArray[np.bool_], dict[int, Processed]]:
        """Decide the rows that `choice` leaves open, from the full row of logits where the candidates are too few.

        Returns:
            `[branches]`, whether the row's logits are finite; and by row, the distributions of branches that record
            more than the candidates contain (`Sampling.needs_full_row`).
        """
        finite = np.ones(len(branches), np.bool_)
        rows = np.flatnonzero(~choice.exact)
        widths = _widths([branches[row] for row in rows.tolist()], head.top_ids)
        lowest = head.top_logits[rows, widths - 1]
        finite[rows] = np.maximum(np.abs(head.lse[rows]), np.abs(lowest)) < MOST_LOGIT  # False for NaN
        rows, widths = rows[finite[rows]], widths[finite[rows]]
        if not len(rows):
            return finite, {}
        sampling_rows = _sampling_rows([branches[row] for row in rows.tolist()])
        scaled_lse = head.scaled_lse[rows]
        candidates = Candidates(head.top_ids[rows], head.top_logits[rows], widths, scaled_lse, complete=False)
        choice.put(rows, choose(candidates, sampling_rows))
        full = np.array([branches[row].sampling.needs_full_row for row in rows.tolist()])
        open_rows = np.flatnonzero(~choice.exact[rows] | full)
        recorded: dict[int, Processed] = {}
        for begin in range(0, len(open_rows), FULL_ROWS):
            part = open_rows[begin : begin + FULL_ROWS]
            recorded |= self._decide_full_rows(
                branches, rows[part], hidden, head, scaled_lse[part], sampling_rows.select(part), choice
            )
        return finite, recorded

    def _decide_full_rows(
        self,
        branches: Sequence[Branch],
        rows: NDArray[np.int64],
        hidden: Tensor,
        head: _Head,
        scaled_lse: NDArray[np.float32],
        sampling_rows: SamplingRows,
        choice: TokenChoice,
    ) -> dict[int, Processed]:
        """Decide `rows` of `choice` from their full rows of logits.

        Returns:
            By row, the distributions of branches with `Sampling.needs_full_row`.
        """
        wanted = hidden[torch.from_numpy(rows).to(hidden.device)]
        ids, sorted_logits = sorted_rows(self._decoder, wanted)
        everything = Candidates(
            _host(ids), _host(sorted_logits), np.full_like(rows, self._vocab), scaled_lse, complete=True
        )
        decided = choose(everything, sampling_rows)
        choice.put(rows, decided)
        recorded: dict[int, Processed] = {}
        for index, row in enumerate(rows.tolist()):
            branch = branches[row]
            branch.usage.full_rows += 1
            if not (branch.sampling.needs_full_row and decided.exact[index]):
                continue
            if branch.sampling.logprobs == "processed":
                one = np.array([index])
                [recorded[row]] = processed(everything.select(one), sampling_rows.select(one), branch.columns)
            else:
                top = slice(branch.columns)
                top_ids, top_logits = everything.ids[index, top], everything.logits[index, top]
                recorded[row] = Processed(decided.logits[index], head.lse[row], top_ids, top_logits)
        return recorded


def _host(tensor: Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()


def _widths(branches: Sequence[Branch], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([min(branch.width, ids.shape[1]) for branch in branches])


def _sampling_rows(branches: Sequence[Branch]) -> SamplingRows:
    """Collect the sampling parameters of `branches`, one row each."""
    samplings = [branch.sampling for branch in branches]
    params = PickParams(
        np.array([s.temperature for s in samplings], np.float32),
        np.array([s.top_k for s in samplings], np.int64),
        np.array([s.top_p for s in samplings], np.float64),
        np.array([s.min_p for s in samplings], np.float32),
        np.array([branch.key for branch in branches], np.int64),
        np.array([branch.node.end for branch in branches], np.int64),
    )
    return SamplingRows(params, [branch.rules for branch in branches])


def _table_of(token: int, recorded: Processed) -> NDArray[np.int32]:
    logit, lse, top_ids, top_logits = recorded
    logits, each_lse = np.array([logit], np.float32), np.array([lse], np.float32)
    return DrawnTokens.of(np.array([token]), logits, each_lse, top_ids[None], top_logits[None]).table
