"""A branch: one sample while it is being decoded."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...model import ROUND_ENDS, DrawnTokens, Tokenizer
from ..completion import Completion, FinishReason
from ..kv.node import KVNode
from ..sampling.branch_key import branch_key
from ..sampling.logit_rules import LogitRules
from ..sampling.row_sampling import RowSampling
from ..sampling.sampling import Sampling
from ..usage import Usage
from .request import Request


class _ReadStop(NamedTuple):
    """A stop string found in new text, and how many of the new tokens it takes to complete it."""

    tokens: int
    stop: str


class Branch(Request):
    """A growing node, how its next token is chosen, and what has been drawn so far.

    Attributes:
        node: The growing node that drawn tokens are appended to.
        sampling: How the next token is chosen.
        key: Philox key of its draws.
        width: How many candidates (most probable tokens) it chooses from.
        columns: How many of the most probable tokens it records per drawn token.
        on_host: Whether every token is chosen on the host instead of the device.
        rules: Biases, penalties and bans of single tokens, or None.
        ends: Tokens that end it.
        row_sampling: Its sampling parameters on the device.
        row_ends: `[ROUND_ENDS]` int64, the tokens of `ends` that the device checks for, padded with -1.
        finish_reason: Why it ended; None while it runs.
        stop_reason: The stop string or stop token that ended it, if one did.
        count: How many tokens it has drawn.
        is_watched: Whether somebody reads its tokens while it runs.
        kept: Whether its node was frozen when it ended. The branch then has a handle on the node until a public `Node`
            takes over.
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
        special_stops: Mapping[int, str],
        bad_words: Sequence[tuple[int, ...]] = (),
    ) -> None:
        """Start an empty branch in the growing `node` below `fork`, for at most `max_tokens` tokens.

        `special_stops` has the stop strings that are special tokens, by token id; see `with_special_stops`.
        """
        super().__init__(fork, node, usage)
        self.sampling = sampling
        seed = secrets.randbits(64) if sampling.seed is None else sampling.seed
        self.key = branch_key(fork.path_hash(), seed, sample)
        self.width = sampling.candidates
        self.columns = sampling.columns
        self.on_host = sampling.on_host
        self.finish_reason: FinishReason | None = None
        self.stop_reason: str | int | None = None
        self._special_stops = special_stops
        self.count = 0
        self.is_watched = False
        self.kept = False
        self._max_tokens = max_tokens
        self._eos_token_ids = frozenset() if sampling.ignore_eos else eos_token_ids
        self.ends = self._eos_token_ids | set(sampling.stop_token_ids)
        path = fork.path_ids() if sampling.adjusts else ()
        self.rules = LogitRules.of(sampling, path, self.ends, bad_words)
        self.row_sampling = RowSampling.of(sampling, self.key)
        self.row_ends = np.full(ROUND_ENDS, -1, np.int64)
        self.row_ends[: len(self.ends)] = list(self.ends)[:ROUND_ENDS]
        self._is_raw = sampling.logprobs == "raw"
        self._tokenizer = tokenizer
        self._stream = tokenizer.stream() if tokenizer and sampling.stop else None
        self._text = ""
        self._drawn: list[NDArray[np.int32]] = []

    @property
    def ready(self) -> bool:
        """Whether the fork is cached and, before the first token, its next-token distribution is known."""
        if self.fork.computed < len(self.fork.tokens):
            return False
        return bool(self.node.tokens) or self.fork.hidden is not None or self.knows_first

    @property
    def knows_first(self) -> bool:
        """Whether the distribution stored at the fork suffices to draw the first token."""
        kept = self.fork.distribution
        if kept is None or self.on_host:
            return False
        limited = self.sampling.greedy or 0 < self.sampling.top_k <= self.width
        return limited and len(kept.top_ids) >= self.width

    @property
    def finished(self) -> bool:
        """Whether the branch has ended."""
        return self.finish_reason is not None or self.error is not None

    def branch_at(self, leaf: KVNode) -> Branch | None:
        """See `Request.branch_at`."""
        return self if leaf is self.node else None

    def take_over(self) -> bool:
        """See `Request.take_over`: the node stays if the branch has drawn tokens and has not failed."""
        self.kept = self.error is None and bool(self.node.tokens)
        return self.kept

    @property
    def starts(self) -> bool:
        """Whether its first token has not been drawn yet, but can be drawn now."""
        return not self.node.tokens and not self.finished and self.ready

    @property
    def left(self) -> int:
        """How many more tokens it may draw."""
        return self._max_tokens - len(self.node.tokens)

    @property
    def ends_on_host(self) -> bool:
        """Whether it has ends that the device does not check for: stop strings, or more than `ROUND_ENDS` tokens."""
        return bool(self.sampling.stop) or len(self.ends) > ROUND_ENDS

    def seems_ended(self, ids: list[int]) -> bool:
        """Whether these next tokens seem to end the branch; only `take` is exact about stop strings."""
        if not self.ends.isdisjoint(ids):
            return True
        if self._stream is None or self._tokenizer is None:
            return False
        return bool(self._stops_in(self._tokenizer.decode(ids)))

    def take(self, ids: list[int], drawn: NDArray[np.int32]) -> None:
        """Append drawn tokens with their distributions, up to the token that ends the branch, if any.

        Args:
            ids: From 1 to `left` tokens.
            drawn: Table of `DrawnTokens` for these tokens, with at least `columns` candidates each.
        """
        reason: FinishReason | None = "length" if len(ids) == self.left else None
        stop: str | int | None = None
        if not self.ends.isdisjoint(ids):
            end = next(index for index, token in enumerate(ids) if token in self.ends)
            ids = ids[: end + 1]
            reason = "eos" if ids[-1] in self._eos_token_ids else "stop"
            stop = None if reason == "eos" else self._special_stops.get(ids[-1], ids[-1])
        if self._stream is not None:
            ends = reason in ("eos", "stop")
            read = self._read(ids[:-1] if ends else ids, self.sampling.min_tokens - len(self.node.tokens))
            if read is not None:
                ids, reason, stop = ids[: read.tokens], "stop", read.stop
            elif reason == "stop":
                self._text += self._stream.finish()
        kept = len(ids)
        self.node.extend(ids)
        self._drawn.append(drawn if kept == len(drawn) else drawn[:kept])
        self.count += kept
        self.usage.generated_tokens += kept
        if self.rules is not None:
            self.rules.take(ids)
        self.finish_reason, self.stop_reason = reason, stop

    def drawn_since(self, tokens: int, text: str) -> Completion:
        """The tokens drawn after the first `tokens` ones, at least one; `text` is their text."""
        new = self.count - tokens
        tables: list[NDArray[np.int32]] = []
        count = 0
        for table in reversed(self._drawn):
            if count >= new:
                break
            tables.append(table)
            count += len(table)
        drawn = DrawnTokens(DrawnTokens.joined(tables[::-1], self.columns).table[count - new :])
        return self._as_completion(drawn, text, None)

    def completion(self) -> Completion:
        """All drawn tokens, as arrays. Call it once, when the branch has ended."""
        drawn = DrawnTokens.joined(self._drawn, self.columns)
        return self._as_completion(drawn, self._whole_text(drawn.ids.tolist()), self.finish_reason)

    def _as_completion(self, drawn: DrawnTokens, text: str, reason: FinishReason | None) -> Completion:
        ids, top_ids = drawn.ids.astype(np.int64), drawn.top_ids.astype(np.int64)
        stop = None if reason is None else self.stop_reason
        return Completion(ids, drawn.logits, drawn.lse, top_ids, drawn.top_logits, text, reason, self._is_raw, stop)

    def _read(self, ids: list[int], ignored: int) -> _ReadStop | None:
        """Read the text of more tokens; return the stop string that they complete, or None if they complete none.

        Stop strings that are completed by one of the first `ignored` tokens do not count. The text of all tokens is
        decoded and searched at once. Decoding token by token is slower; it is needed only to find out which token
        completed a stop string, or if decoding all tokens at once gives no text because it ends inside a character.
        """
        assert self._stream is not None
        ignored = min(max(ignored, 0), len(ids))
        if ignored:
            self._text += self._stream.push(*ids[:ignored])
            read = self._read(ids[ignored:], 0)
            return None if read is None else read._replace(tokens=ignored + read.tokens)
        before = self._stream.copy()
        piece = self._stream.push(*ids) if ids else ""
        if piece and not self._stops_in(piece):
            self._text += piece
            return None
        self._stream = before
        for index, token in enumerate(ids):
            stop = self._reads_stop(self._stream.push(token))
            if stop is not None:
                return _ReadStop(index + 1, stop)
        return None

    def _stops_in(self, piece: str) -> list[tuple[int, str]]:
        """The stop strings that `piece` completes when it is appended to the text, with their start offsets."""
        text = self._text + piece
        stops = self.sampling.stop
        begin = max(len(self._text) - max(map(len, stops)) + 1, 0)
        return [(at, stop) for at, stop in ((text.find(stop, begin), stop) for stop in stops) if at >= 0]

    def _reads_stop(self, piece: str) -> str | None:
        """Append `piece` to the text, cut at the first stop string that it completes; return that string, if any."""
        if not piece:
            return None
        found = self._stops_in(piece)
        self._text += piece
        if not found:
            return None
        at, stop = min(found)
        if not self.sampling.include_stop:
            self._text = self._text[:at]
        return stop

    def _whole_text(self, ids: list[int]) -> str:
        """The text without the token that ended the branch. Decoded here if the branch has no stop strings."""
        if self._stream is not None:
            return self._text if self.finish_reason == "stop" else self._text + self._stream.finish()
        ended = self.finish_reason in ("eos", "stop")
        return self._tokenizer.decode(ids[: -1 if ended else None]) if self._tokenizer else ""
