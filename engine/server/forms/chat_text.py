"""Formats one choice of a chat answer, whole or in pieces."""

from __future__ import annotations

from typing import NamedTuple

from ....model import Tokenizer
from ...completion import Completion
from ...sampling.sampling import Sampling
from ..schemas.chat import AnswerMessage, ChatChoice, ChatLogprobs, ChatPieceChoice, ChatRequest, Delta
from ..schemas.completion import FinishReason
from .ending import told_reason
from .logprobs import chat_logprobs
from .sample_progress import SampleProgress
from .token_texts import TokenTexts


class _Told(NamedTuple):
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None
    stop_reason: str | int | None
    confidence: float | None
    token_ids: list[int] | None


class ChatText:
    """Formats one choice of a chat, whole or in pieces."""

    def __init__(
        self, request: ChatRequest, index: int, sampling: Sampling, tokenizer: Tokenizer | None, texts: TokenTexts
    ) -> None:
        """Format choice `index`, which has no tokens yet; `texts` says how to write tokens in log-probabilities."""
        self._request = request
        self._index = index
        self._texts = texts
        self._progress = SampleProgress(tokenizer, sampling, request.skip_special_tokens)

    def opening(self) -> ChatPieceChoice:
        """The first piece of a stream, which has the role."""
        return ChatPieceChoice(index=self._index, delta=Delta(role="assistant", content=""))

    def piece(self, drawn: Completion) -> ChatPieceChoice:
        """A streamed piece with the next drawn tokens."""
        text = self._progress.text(drawn)
        return ChatPieceChoice(index=self._index, delta=Delta(content=text), **self._told(drawn)._asdict())

    def whole(self, drawn: Completion) -> ChatChoice:
        """The whole choice."""
        text = self._progress.text(drawn)
        return ChatChoice(index=self._index, message=AnswerMessage(content=text), **self._told(drawn)._asdict())

    def says_something(self, choice: ChatPieceChoice) -> bool:
        """Whether a piece of a stream has any content to send."""
        has_logprobs = choice.logprobs is not None and choice.logprobs.content
        return bool(choice.delta.content or choice.finish_reason or choice.token_ids or has_logprobs)

    def _told(self, drawn: Completion) -> _Told:
        request = self._request
        return _Told(
            chat_logprobs(drawn, request.top_logprobs or 0, self._texts) if request.logprobs else None,
            told_reason(drawn.finish_reason),
            drawn.stop_reason,
            self._progress.confidence(drawn),
            drawn.token_ids.tolist() if request.return_token_ids else None,
        )
