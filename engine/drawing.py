"""One new token for each of many branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..kernels import MOST_LOGIT, Draw, HeadTopK
from ..model import Decoder
from .branch import Branch
from .kv_node import Distribution
from .sampler import Candidates, Choice, SamplingRows, choose


class Request(NamedTuple):
    """What the LM head is asked for on behalf of some branches, one row each.

    Attributes:
        branches: Who wants a token.
        rows: How each of them samples.
        width: How many of the most probable tokens are wanted.
        streamed: `[branches]` bool, which of them need the sums or the draw over the whole vocabulary.
        draw: The head's parameters for these, on the host; None if there are none.
    """

    branches: Sequence[Branch]
    rows: SamplingRows
    width: int
    streamed: NDArray[np.bool_]
    draw: Draw | None

    def select(self, kept: NDArray[np.int64]) -> Request:
        """What is asked for on behalf of some of the branches, when the head has drawn already."""
        branches = [self.branches[row] for row in kept.tolist()]
        return Request(branches, self.rows.select(kept), self.width, self.streamed[kept], None)


class Drawer:
    """Draws tokens with the LM head of one decoder.

    The head works where the decoder does. What it keeps of a row is small and wanted on the host in any case, so that
    the choice is made there. Where a row's log-sum-exp, or a logit that the branch looks at, is infinite, NaN or
    close to it, there is nothing to choose from.
    """

    def __init__(self, decoder: Decoder) -> None:
        """Draw with `decoder`'s head and op set."""
        self._decoder = decoder
        self._vocab = decoder.head.out_features

    def request(self, branches: Sequence[Branch]) -> Request:
        """What is to be asked of the LM head for the next token of each branch."""
        rows = _sampling_rows(branches)
        streamed = np.array([branch.sampling.streamed for branch in branches])
        draw: Draw | None = None
        if streamed.any():
            wishes = (np.where(streamed, rows.temperature, np.float32(0)), rows.key, rows.position)
            draw = Draw(*map(torch.from_numpy, wishes))
        width = min(max(branch.width for branch in branches), self._vocab)
        return Request(branches, rows, width, streamed, draw)

    def from_hidden(self, branches: Sequence[Branch], hidden: Tensor) -> list[Branch]:
        """Append a token to each branch, given the hidden state before it (`[branches, hidden]`).

        Returns:
            Those that got none, as their logits are not finite.
        """
        request = self.request(branches)
        draw = None if request.draw is None else Draw(*(field.to(hidden.device) for field in request.draw))
        head = self._decoder.kernels.lm_head_topk(hidden, self._decoder.head, request.width, draw=draw)
        return self.from_head(request, hidden, head)

    def from_head(self, request: Request, hidden: Tensor, head: HeadTopK) -> list[Branch]:
        """Append a token to each branch, given what the LM head made of `hidden`.

        A branch's first token leaves what it was drawn from at the fork, for others to draw from.

        Returns:
            Those that got none, as their logits are not finite.
        """
        branches, rows, _, streamed, _ = request
        top_ids, top_logits, lse = _host(head.top_ids), _host(head.top_logits), _host(head.lse)
        widths = _widths(branches, top_ids)
        lowest = top_logits[np.arange(len(lse)), widths - 1]
        finite = np.maximum(np.abs(lse), np.abs(lowest)) < MOST_LOGIT  # which NaN is not
        if not finite.all():
            kept = np.flatnonzero(finite)
            if len(kept):
                place = torch.from_numpy(kept)
                self.from_head(
                    request.select(kept), hidden[place.to(hidden.device)], head.select(place.to(head.lse.device))
                )
            return [branches[row] for row in np.flatnonzero(~finite).tolist()]
        scaled_lse = np.full_like(lse, np.nan)
        if head.scaled_lse is not None:
            scaled_lse[streamed] = _host(head.scaled_lse)[streamed]
        candidates = Candidates(top_ids, top_logits, widths, scaled_lse, complete=False)
        choice = choose(candidates, rows)
        if head.drawn_ids is not None and head.drawn_logits is not None:
            pure = np.array([branch.sampling.pure for branch in branches])
            choice = Choice(
                np.where(pure, _host(head.drawn_ids), choice.ids),
                np.where(pure, _host(head.drawn_logits), choice.logits),
                pure | choice.exact,
            )
        choice = self._settle(branches, hidden, rows, choice, scaled_lse)
        for row, branch in enumerate(branches):
            if not branch.node.tokens:
                known = slice(np.isfinite(top_logits[row]).sum())  # a neighbour may have asked for more
                branch.fork.distribution = Distribution(
                    top_ids[row, known].copy(), top_logits[row, known].copy(), float(lse[row])
                )
        _append(branches, choice, top_ids, top_logits, lse)
        return []

    def from_distributions(self, branches: Sequence[Branch]) -> None:
        """Append its first token to each branch, from the distribution that its fork keeps (`Branch.knows_first`)."""
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
        _append(branches, choose(candidates, _sampling_rows(branches)), ids, logits, lse)

    def _settle(
        self,
        branches: Sequence[Branch],
        hidden: Tensor,
        rows: SamplingRows,
        choice: Choice,
        scaled_lse: NDArray[np.float32],
    ) -> Choice:
        """Decide on the full row of logits where the candidates were too few."""
        if choice.exact.all():
            return choice
        open_rows = np.flatnonzero(~choice.exact)
        for row in open_rows.tolist():
            branches[row].usage.full_rows += 1
        unsettled = hidden[torch.from_numpy(open_rows).to(hidden.device)]
        logits = self._decoder.kernels.linear(unsettled, self._decoder.head).float()
        sorted_logits, ids = logits.sort(dim=1, descending=True, stable=True)
        width = np.full_like(open_rows, self._vocab)
        everything = Candidates(_host(ids), _host(sorted_logits), width, scaled_lse[open_rows], complete=True)
        settled = choose(everything, rows.select(open_rows))
        choice.ids[open_rows], choice.logits[open_rows] = settled.ids, settled.logits
        return choice


def _host(tensor: Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()


def _widths(branches: Sequence[Branch], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([min(branch.width, ids.shape[1]) for branch in branches])


def _sampling_rows(branches: Sequence[Branch]) -> SamplingRows:
    """Collect the sampling parameters of `branches`, one row each."""
    samplings = [branch.sampling for branch in branches]
    return SamplingRows(
        np.array([s.temperature for s in samplings], np.float32),
        np.array([s.top_k for s in samplings], np.int64),
        np.array([s.top_p for s in samplings], np.float64),
        np.array([s.min_p for s in samplings], np.float32),
        np.array([s.repetition_penalty for s in samplings], np.float32),
        [branch.seen for branch in branches],
        np.array([branch.key for branch in branches], np.int64),
        np.array([branch.node.end for branch in branches], np.int64),
    )


def _append(
    branches: Sequence[Branch],
    choice: Choice,
    top_ids: NDArray[np.int64],
    top_logits: NDArray[np.float32],
    lse: NDArray[np.float32],
) -> None:
    for row, (branch, token) in enumerate(zip(branches, choice.ids.tolist(), strict=True)):
        one = slice(row, row + 1)
        branch.take([token], choice.logits[one], lse[one], top_ids[one], top_logits[one])
