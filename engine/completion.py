"""What was drawn on one branch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .sampling.token_confidence import token_confidences
from .text.brief import brief_record

FinishReason = Literal["eos", "stop", "length", "cancelled", "pruned"]
"""Why a branch ended: at an end-of-sequence token, at a stop string or stop token, at its maximum length, at a
deadline, or because a search gave it up."""


@dataclass(frozen=True)
class Completion:
    """The tokens of a branch with the distributions they were drawn from; given tokens have empty arrays.

    Attributes:
        token_ids: `[tokens]` int64.
        logits: `[tokens]` fp32, raw logit of each token.
        lse: `[tokens]` fp32, log-sum-exp of the raw logits that each token was drawn from.
        top_ids: `[tokens, k]` int64, the most probable tokens at each position, best first.
        top_logits: `[tokens, k]` fp32, their raw logits.
        text: Text of the tokens, without the stop string unless `Sampling.include_stop` is set.
        finish_reason: Why the branch ended; None for given tokens.
        is_raw: Whether logits are the model's own; else they are those that the tokens were drawn by, divided by the
            temperature (`Sampling.logprobs`).
    """

    token_ids: NDArray[np.int64]
    logits: NDArray[np.float32]
    lse: NDArray[np.float32]
    top_ids: NDArray[np.int64]
    top_logits: NDArray[np.float32]
    text: str
    finish_reason: FinishReason | None
    is_raw: bool = True

    def __repr__(self) -> str:
        return brief_record(self)

    @cached_property
    def logprobs(self) -> NDArray[np.float32]:
        """`[tokens]` fp32, raw log-probabilities: at temperature 1, before any truncation or penalty."""
        return self.logits - self.lse

    @cached_property
    def top_logprobs(self) -> NDArray[np.float32]:
        """`[tokens, k]` fp32, raw log-probabilities of `top_ids`."""
        return self.top_logits - self.lse[:, None]

    @cached_property
    def confidences(self) -> NDArray[np.float32]:
        """`[tokens]` fp32, see `token_confidences`."""
        return token_confidences(self.logits, self.top_logits)

    def head(self, tokens: int, text: str) -> Completion:
        """The first `tokens` tokens, whose text is `text`, with no finish reason."""
        return Completion(
            self.token_ids[:tokens],
            self.logits[:tokens],
            self.lse[:tokens],
            self.top_ids[:tokens],
            self.top_logits[:tokens],
            text,
            None,
            self.is_raw,
        )

    def tail(self, tokens: int, text: str) -> Completion:
        """What follows the first `tokens` tokens, whose text is `text`."""
        return Completion(
            self.token_ids[tokens:],
            self.logits[tokens:],
            self.lse[tokens:],
            self.top_ids[tokens:],
            self.top_logits[tokens:],
            text,
            self.finish_reason,
            self.is_raw,
        )

    @staticmethod
    def given(token_ids: list[int], text: str) -> Completion:
        """Tokens that were given, not drawn, and so have no logits."""
        none = np.empty(0, np.float32)
        no_ids, no_logits = np.empty((0, 0), np.int64), np.empty((0, 0), np.float32)
        return Completion(np.asarray(token_ids, np.int64), none, none, no_ids, no_logits, text, None)
