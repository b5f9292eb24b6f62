"""Formats one choice of a completion, whole or in pieces."""

from __future__ import annotations

from ....model import Tokenizer
from ...completion import Completion
from ...sampling.sampling import Sampling
from ...scoring import Score
from ..schemas.completion import CompletionChoice, CompletionLogprobs, CompletionRequest
from .ending import told_reason
from .logprobs import TextLogprobs, prompt_logprobs
from .sample_progress import SampleProgress
from .token_texts import TokenTexts


class CompletionText:
    """Formats one choice of a completion, whole or in pieces."""

    def __init__(
        self,
        request: CompletionRequest,
        index: int,
        prompt_ids: list[int],
        echo: str,
        sampling: Sampling,
        tokenizer: Tokenizer | None,
        texts: TokenTexts,
        score: Score | None,
    ) -> None:
        """Format choice `index`, which has no tokens yet.

        Args:
            request: The request.
            index: Number of the choice.
            prompt_ids: Token ids of its prompt.
            echo: Text of its prompt if the request asks for it, or empty.
            sampling: How it is drawn.
            tokenizer: The model's tokenizer.
            texts: How to write tokens in log-probabilities.
            score: Log-probabilities of the prompt's tokens, if the request asks for them.
        """
        self._request = request
        self._index = index
        self._prompt_ids = prompt_ids
        self._echo = echo
        self._score = score
        self._texts = texts
        self._progress = SampleProgress(tokenizer, sampling, request.skip_special_tokens)
        self._logprobs = None if request.logprobs is None else TextLogprobs(tokenizer, request.logprobs, texts)

    def beginning(self) -> CompletionChoice:
        """The first piece: what the request asks to have returned about the prompt."""
        request = self._request
        choice = CompletionChoice(index=self._index, text=self._echo)
        if request.echo and self._logprobs is not None and self._score is not None:
            choice.logprobs = self._logprobs.given(self._score)
        if request.prompt_logprobs is not None and self._score is not None:
            choice.prompt_logprobs = prompt_logprobs(self._score, request.prompt_logprobs, self._texts)
        if request.return_token_ids:
            choice.prompt_token_ids = self._prompt_ids
            choice.token_ids = []
        return choice

    def piece(self, drawn: Completion) -> CompletionChoice:
        """A streamed piece with the next drawn tokens."""
        text = self._progress.text(drawn)
        return CompletionChoice(
            index=self._index,
            text=text,
            logprobs=None if self._logprobs is None else self._logprobs.drawn(drawn),
            finish_reason=told_reason(drawn.finish_reason),
            stop_reason=drawn.stop_reason,
            confidence=self._progress.confidence(drawn),
            token_ids=drawn.token_ids.tolist() if self._request.return_token_ids else None,
        )

    def whole(self, drawn: Completion | None) -> CompletionChoice:
        """The whole choice: the prompt, if requested, and everything drawn; `drawn` is None if nothing was."""
        choice = self.beginning()
        if drawn is None:
            choice.finish_reason = "length"
            if self._logprobs is not None and choice.logprobs is None:
                choice.logprobs = self._logprobs.none()
            return choice
        end = self.piece(drawn)
        end.text = choice.text + end.text
        end.logprobs = _joined(choice.logprobs, end.logprobs)
        end.prompt_token_ids, end.prompt_logprobs = choice.prompt_token_ids, choice.prompt_logprobs
        return end

    def says_something(self, choice: CompletionChoice) -> bool:
        """Whether a piece of a stream has any content to send."""
        return bool(
            choice.text
            or choice.finish_reason
            or choice.token_ids
            or choice.prompt_token_ids
            or choice.prompt_logprobs
            or (choice.logprobs and choice.logprobs.tokens)
        )


def _joined(first: CompletionLogprobs | None, second: CompletionLogprobs | None) -> CompletionLogprobs | None:
    if first is None or second is None:
        return first or second
    return CompletionLogprobs(
        text_offset=first.text_offset + second.text_offset,
        token_logprobs=first.token_logprobs + second.token_logprobs,
        tokens=first.tokens + second.tokens,
        top_logprobs=first.top_logprobs + second.top_logprobs,
        confidences=first.confidences + second.confidences,
    )
