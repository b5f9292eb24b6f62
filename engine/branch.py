"""One sample while it is being decoded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..model import Tokenizer
from .branch_key import branch_key
from .completion import Completion, FinishReason
from .job import Job
from .kv_node import KVNode
from .sampling import Sampling
from .usage import Usage


class Branch(Job):
    """A growing node, how its next token is chosen, and what was drawn so far.

    Attributes:
        node: The growing node that its tokens go to.
        sampling: How the next token is chosen.
        key: Philox key of its draws.
        width: How many of the most probable tokens it looks at.
        seen: Distinct tokens on its path; None without a repetition penalty.
        finish_reason: Why it ended; None while it runs.
        kept: Whether its node was frozen when it ended; the branch then holds it until somebody takes it over.
    """

    node: KVNode

    def __init__(
        self,
        fork: KVNode,
        node: KVNode,
        sampling: Sampling,
        sample: int,
        usage: Usage,
        max_tokens: int,
        eos_token_ids: frozenset[int],
        tokenizer: Tokenizer | None,
    ) -> None:
        """Start an empty branch in the growing `node` below `fork`, for at most `max_tokens` tokens."""
        super().__init__(fork, node, usage)
        self.sampling = sampling
        self.key = branch_key(fork.path_hash(), sampling.seed, sample)
        self.width = sampling.candidates
        self.seen = set(fork.path_ids()) if sampling.repetition_penalty != 1 else None
        self.finish_reason: FinishReason | None = None
        self.kept = False
        self._max_tokens = max_tokens
        self._eos_token_ids = frozenset() if sampling.ignore_eos else eos_token_ids
        self._tokenizer = tokenizer
        self._stream = tokenizer.stream() if tokenizer and sampling.stop else None
        self._text = ""
        self._logits: list[float] = []
        self._lse: list[float] = []
        self._top_ids: list[NDArray[np.int64]] = []
        self._top_logits: list[NDArray[np.float32]] = []

    @property
    def ready(self) -> bool:
        """Whether the fork is cached and, before the first token, enough is known of what follows it."""
        if self.fork.computed < len(self.fork.tokens):
            return False
        return bool(self.node.tokens) or self.fork.hidden is not None or self.knows_first

    @property
    def knows_first(self) -> bool:
        """Whether the distribution that the fork keeps is enough to draw the first token."""
        kept = self.fork.distribution
        if kept is None or self.sampling.repetition_penalty != 1:
            return False
        limited = self.sampling.greedy or 0 < self.sampling.top_k <= self.width
        return limited and len(kept.top_ids) >= self.width

    @property
    def finished(self) -> bool:
        """Whether the branch draws no more."""
        return self.finish_reason is not None or self.error is not None

    def draw(
        self, token: int, logit: float, lse: float, top_ids: NDArray[np.int64], top_logits: NDArray[np.float32]
    ) -> None:
        """Append a drawn token with the distribution it came from, and find out whether the branch ends there."""
        self.node.tokens.append(token)
        self._logits.append(logit)
        self._lse.append(lse)
        self._top_ids.append(top_ids[: self.width])
        self._top_logits.append(top_logits[: self.width])
        self.usage.generated_tokens += 1
        if self.seen is not None:
            self.seen.add(token)
        if token in self._eos_token_ids:
            self.finish_reason = "eos"
        elif token in self.sampling.stop_token_ids:
            self.finish_reason = "stop"
            self._text += self._stream.finish() if self._stream else ""
        elif self._stream and self._reads_stop(self._stream.push(token)):
            self.finish_reason = "stop"
        elif len(self.node.tokens) >= self._max_tokens:
            self.finish_reason = "length"

    def completion(self) -> Completion:
        """Everything drawn, as arrays. Call it once, when the branch is over."""
        tokens = len(self.node.tokens)
        shape = (tokens, -1) if tokens else (0, 0)
        return Completion(
            np.array(self.node.tokens, np.int64),
            np.array(self._logits, np.float32),
            np.array(self._lse, np.float32),
            np.concatenate(self._top_ids).reshape(shape) if tokens else np.empty(shape, np.int64),
            np.concatenate(self._top_logits).reshape(shape) if tokens else np.empty(shape, np.float32),
            self._whole_text(),
            self.finish_reason,
        )

    def _reads_stop(self, piece: str) -> bool:
        """Add `piece` to the text; cut it at the first stop string that it completes."""
        if not piece:
            return False
        self._text += piece
        stops = self.sampling.stop
        reach = len(piece) + max(map(len, stops)) - 1
        begin = max(len(self._text) - reach, 0)
        found = [at for at in (self._text.find(stop, begin) for stop in stops) if at >= 0]
        if not found:
            return False
        if not self.sampling.include_stop:
            self._text = self._text[: min(found)]
        return True

    def _whole_text(self) -> str:
        """The text without the token that ended the branch; without stop strings nobody had to look at it before."""
        if self._stream is not None:
            return self._text if self.finish_reason == "stop" else self._text + self._stream.finish()
        ended = self.finish_reason in ("eos", "stop")
        return self._tokenizer.decode(self.node.tokens[: -1 if ended else None]) if self._tokenizer else ""
