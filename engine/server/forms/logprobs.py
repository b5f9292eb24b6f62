"""Log-probabilities in the formats of OpenAI's completions and chats, and of prompts in vLLM's format."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ....model import Tokenizer
from ...completion import Completion
from ...node import Node
from ...scoring import Score
from ..schemas.chat import ChatLogprobs, TokenLogprob, TopLogprob
from ..schemas.completion import CompletionLogprobs, PromptLogprob, PromptLogprobs
from .token_texts import TokenTexts


class RatedTokens(Protocol):
    """Tokens with their log-probabilities: a `Completion`, a `Node`, a `Score`."""

    @property
    def token_ids(self) -> NDArray[np.int64]:
        """`[tokens]`."""
        ...

    @property
    def logprobs(self) -> NDArray[np.float32]:
        """`[tokens]`."""
        ...

    @property
    def top_ids(self) -> NDArray[np.int64]:
        """`[tokens, k]`, best first."""
        ...

    @property
    def top_logprobs(self) -> NDArray[np.float32]:
        """`[tokens, k]`."""
        ...


class _Row(NamedTuple):
    """One position: its token, and the most probable tokens there, best first."""

    token: int
    logprob: float
    top: list[tuple[int, float]]
    confidence: float | None


def chat_logprobs(drawn: RatedTokens, top: int, texts: TokenTexts) -> ChatLogprobs:
    """Log-probabilities in chat format, with the `top` most probable tokens per position."""
    return ChatLogprobs(
        content=[
            TokenLogprob(
                token=texts.text(row.token),
                logprob=row.logprob,
                bytes=texts.bytes(row.token),
                top_logprobs=[_top_logprob(token, logprob, texts) for token, logprob in row.top],
                confidence=row.confidence,
            )
            for row in _rows(drawn, top)
        ]
    )


def _top_logprob(token: int, logprob: float, texts: TokenTexts) -> TopLogprob:
    return TopLogprob(token=texts.text(token), logprob=logprob, bytes=texts.bytes(token))


class TextLogprobs:
    """Log-probabilities of one text in the completions format, piece by piece."""

    def __init__(self, tokenizer: Tokenizer | None, top: int, texts: TokenTexts) -> None:
        """Return the `top` most probable tokens per position."""
        self._top = top
        self._texts = texts
        self._stream = tokenizer.stream(keep_special=True) if tokenizer else None
        self._offset = 0

    def given(self, score: Score) -> CompletionLogprobs:
        """Log-probabilities of the prompt's tokens."""
        rows = [_Row(int(score.token_ids[0]), np.nan, [], None)]
        for at in range(1, len(score.token_ids)):
            top = list(zip(score.top_ids[at].tolist(), score.top_logprobs[at].tolist(), strict=True))
            row = _row(int(score.token_ids[at]), float(score.logprobs[at]), top, None)
            rows.append(row._replace(top=row.top[: self._top]))
        told = self._told(rows)
        told.token_logprobs[0] = told.top_logprobs[0] = None
        return told

    def drawn(self, drawn: RatedTokens) -> CompletionLogprobs:
        """Log-probabilities of the next drawn tokens."""
        return self._told(_rows(drawn, self._top))

    def none(self) -> CompletionLogprobs:
        """Log-probabilities of a text without tokens."""
        return self._told([])

    def _told(self, rows: list[_Row]) -> CompletionLogprobs:
        offsets = []
        for row in rows:
            offsets.append(self._offset)
            if self._stream is not None:
                self._offset += len(self._stream.push(row.token))
        return CompletionLogprobs(
            text_offset=offsets,
            token_logprobs=[row.logprob for row in rows],
            tokens=[self._texts.text(row.token) for row in rows],
            top_logprobs=[self._by_text(row) for row in rows],
            confidences=[row.confidence for row in rows],
        )

    def _by_text(self, row: _Row) -> dict[str, float]:
        """Log-probabilities of the top tokens and the row's token, by text; of equal texts the most probable counts."""
        told: dict[str, float] = {}
        for token, logprob in [*row.top, (row.token, row.logprob)]:
            told.setdefault(self._texts.text(token), logprob)
        return told


def prompt_logprobs(score: Score, top: int, texts: TokenTexts) -> PromptLogprobs:
    """Log-probabilities of a prompt's tokens and the `top` most probable tokens per position, by token id."""
    told: PromptLogprobs = [None]
    for at in range(1, len(score.token_ids)):
        entries: dict[str, PromptLogprob] = {}
        rank = None
        own = int(score.token_ids[at])
        for place, (token, logprob) in enumerate(
            zip(score.top_ids[at].tolist(), score.top_logprobs[at].tolist(), strict=True), 1
        ):
            if token == own:
                rank = place
            if place <= top:
                entries[str(token)] = PromptLogprob(logprob=logprob, rank=place, decoded_token=texts.decoded(token))
        if str(own) not in entries:
            logprob = float(score.logprobs[at])
            entries[str(own)] = PromptLogprob(logprob=logprob, rank=rank, decoded_token=texts.decoded(own))
        told.append(entries)
    return told


def _rows(drawn: RatedTokens, top: int) -> list[_Row]:
    confidences: list[float | None] = [None] * len(drawn.token_ids)
    if isinstance(drawn, Completion | Node):
        confidences = drawn.confidences.tolist()
    rows = []
    for at, (token, confidence) in enumerate(zip(drawn.token_ids.tolist(), confidences, strict=True)):
        best = list(zip(drawn.top_ids[at].tolist(), drawn.top_logprobs[at].tolist(), strict=True))
        row = _row(token, float(drawn.logprobs[at]), best, confidence)
        rows.append(row._replace(top=row.top[:top]))
    return rows


def _row(token: int, logprob: float, top: list[tuple[int, float]], confidence: float | None) -> _Row:
    """A row whose token has the same log-probability alone and among the top tokens, because clients compare them."""
    return _Row(token, next((number for each, number in top if each == token), logprob), top, confidence)
