"""Log-probabilities of given tokens."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..kernels import HeadTopK
from .kv.node import KVNode
from .scheduler.request import Request
from .text.brief import brief_record
from .usage import Usage


class Score(NamedTuple):
    """Log-probabilities of given tokens; row `i` is conditioned on the tokens before `i`.

    Attributes:
        token_ids: `[tokens]` int64.
        logprobs: `[tokens]` fp32, raw log-probabilities; row 0 is NaN if nothing precedes the sequence.
        top_ids: `[tokens, k]` int64, the most probable tokens, best first; row 0 is -1 if nothing precedes the
            sequence.
        top_logprobs: `[tokens, k]` fp32, log-probabilities of `top_ids`; row 0 is NaN if nothing precedes the sequence.
    """

    token_ids: NDArray[np.int64]
    logprobs: NDArray[np.float32]
    top_ids: NDArray[np.int64]
    top_logprobs: NDArray[np.float32]

    def __repr__(self) -> str:
        return brief_record(self)


class Scoring(Request):
    """A sequence while it is being scored.

    Attributes:
        node: A growing node with all tokens of the sequence; other requests cannot match it before it is frozen.
        top_k: Columns of the result.
        keep: Whether to freeze the node at the end, so that its K and V stay in the tree.
        kept: Whether the node was frozen; it then has a handle, which the caller must release.
    """

    node: KVNode

    def __init__(self, fork: KVNode, node: KVNode, top_k: int, usage: Usage, keep: bool = False) -> None:
        """Make a request to score the tokens of `node`, which is below `fork`: the root, or what they follow."""
        super().__init__(fork, node, usage)
        self.top_k = top_k
        self.keep = keep
        self.kept = False
        self._token_ids = np.array(node.tokens, np.int64)  # a frozen node may be split
        tokens = len(node.tokens)
        self._scored = 0
        self._logprobs = torch.full((tokens,), torch.nan)
        self._top_ids = torch.full((tokens, top_k), -1, dtype=torch.int64)
        self._top_logprobs = torch.full((tokens, top_k), torch.nan)

    @property
    def ready(self) -> bool:
        """Whether the hidden state before the sequence is known; always True if nothing precedes it."""
        fork = self.fork
        return fork.parent is None or (fork.hidden is not None and fork.computed == len(fork.tokens))

    @property
    def finished(self) -> bool:
        """Whether every token is scored, or the request was stopped."""
        return self.error is not None or self._scored == len(self._token_ids)

    def scoring_at(self, leaf: KVNode) -> Scoring | None:
        """See `Request.scoring_at`."""
        return self if leaf is self.node else None

    def outputs(self, leaf: KVNode, first: int, rows: int) -> int:
        """See `Request.outputs`: every row of its own node, because each hidden state scores the next token."""
        return rows if leaf is self.node else super().outputs(leaf, first, rows)

    def take_over(self) -> bool:
        """See `Request.take_over`: the node stays if `keep` is set and the scoring has not failed."""
        self.kept = self.keep and self.error is None
        return self.kept

    def targets(self, first: int, rows: int) -> list[int]:
        """The tokens that follow tokens `first` to `first + rows - 1`; token id 0 after the end of the sequence."""
        following = self.node.tokens[first + 1 : first + rows + 1]
        return following + [0] * (rows - len(following))

    def take(self, first: int, head: HeadTopK) -> bool:
        """Record the LM head's results for the rows from token `first` on; return whether all are finite.

        Token -1 is the last token before the sequence.
        """
        assert head.target_logits is not None
        self._scored = first + len(head.lse)
        rows = min(len(head.lse), len(self.node.tokens) - 1 - first)
        to = slice(first + 1, first + 1 + rows)
        self._logprobs[to] = (head.target_logits - head.lse)[:rows].cpu()
        self._top_ids[to] = head.top_ids[:rows, : self.top_k].cpu()
        self._top_logprobs[to] = (head.top_logits - head.lse[:, None])[:rows, : self.top_k].cpu()
        return all(bool(part.isfinite().all()) for part in (head.lse, self._logprobs[to], self._top_logprobs[to]))

    def score(self) -> Score:
        """The finished result."""
        return Score(self._token_ids, self._logprobs.numpy(), self._top_ids.numpy(), self._top_logprobs.numpy())
