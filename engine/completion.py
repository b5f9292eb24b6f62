"""The tokens drawn on one branch, with their log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .sampling.token_confidence import token_confidences
from .text.brief import brief_record

FinishReason = Literal["eos", "stop", "length", "cancelled", "pruned"]
"""Why a branch ended: it drew an end-of-sequence token ("eos") or a stop string or stop token ("stop"), it reached its
maximum length ("length"), it was cancelled, for example at a deadline ("cancelled"), or a search gave it up
("pruned")."""


@dataclass(frozen=True)
class Completion:
    """The tokens of a branch, with their logits and the most probable alternatives at each position.

    Tokens that were given instead of drawn (`Completion.given`) have no logits: all arrays but `token_ids` are empty.

    Attributes:
        token_ids: `[tokens]` int64.
        logits: `[tokens]` fp32, logit of each token.
        lse: `[tokens]` fp32, log-sum-exp of all logits at each position.
        top_ids: `[tokens, k]` int64, the most probable tokens at each position, best first.
        top_logits: `[tokens, k]` fp32, their logits.
        text: Text of the tokens, without the stop string unless `Sampling.include_stop` is set.
        finish_reason: Why the branch ended; None for given tokens.
        is_raw: True if `logits`, `lse` and `top_logits` are raw, as the model computed them. False if they are
            processed: after penalties, temperature and truncation (`Sampling.logprobs`).
        stop_reason: Which stop string, or which token of `Sampling.stop_token_ids`, ended the branch; None if neither
            did.
    """

    token_ids: NDArray[np.int64]
    logits: NDArray[np.float32]
    lse: NDArray[np.float32]
    top_ids: NDArray[np.int64]
    top_logits: NDArray[np.float32]
    text: str
    finish_reason: FinishReason | None
    is_raw: bool = True
    stop_reason: str | int | None = None

    def __repr__(self) -> str:
        return brief_record(self)

    @cached_property
    def logprobs(self) -> NDArray[np.float32]:
        """`[tokens]` fp32, log-probability of each token: raw (temperature 1, no truncation or penalty) if `is_raw`."""
        return self.logits - self.lse

    @cached_property
    def top_logprobs(self) -> NDArray[np.float32]:
        """`[tokens, k]` fp32, log-probabilities of `top_ids`; raw if `is_raw`."""
        return self.top_logits - self.lse[:, None]

    @cached_property
    def confidences(self) -> NDArray[np.float32]:
        """`[tokens]` fp32, token confidence of each token; see `token_confidences`."""
        return token_confidences(self.logits, self.top_logits)

    def head(self, tokens: int, text: str) -> Completion:
        """A completion with the first `tokens` tokens, whose text is `text`, and no finish reason."""
        return self._part(slice(tokens), text)

    def tail(self, tokens: int, text: str) -> Completion:
        """A completion without the first `tokens` tokens; `text` is the text of the remaining ones."""
        return self._part(slice(tokens, None), text, self.finish_reason, self.stop_reason)

    def _part(
        self, part: slice, text: str, finish_reason: FinishReason | None = None, stop_reason: str | int | None = None
    ) -> Completion:
        ids, logits, lse = self.token_ids[part], self.logits[part], self.lse[part]
        top_ids, top_logits = self.top_ids[part], self.top_logits[part]
        return Completion(ids, logits, lse, top_ids, top_logits, text, finish_reason, self.is_raw, stop_reason)

    @staticmethod
    def given(token_ids: list[int], text: str) -> Completion:
        """A completion of tokens that were given, not drawn, and therefore have no logits."""
        none = np.empty(0, np.float32)
        no_ids, no_logits = np.empty((0, 0), np.int64), np.empty((0, 0), np.float32)
        return Completion(np.asarray(token_ids, np.int64), none, none, no_ids, no_logits, text, None)
