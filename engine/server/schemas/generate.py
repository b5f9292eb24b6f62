"""`POST /inference/v1/generate`: tokens in, tokens out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from .base import AnswerModel, RequestModel
from .chat import ChatLogprobs
from .completion import FinishReason, PromptLogprobs
from .sampling import CacheSalt, MaxTokens, Priority, RequestId, SamplingRequest, StreamOptions, TokenId, TopLogprobs
from .usage import UsageAnswer


class TokenSampling(SamplingRequest):
    """How to draw tokens; `logprobs` is how many of the most probable tokens to return for each position."""

    not_done: ClassVar[Mapping[str, str]] = {**SamplingRequest.not_done, "detokenize": "answers are token ids"}

    max_tokens: MaxTokens | None = 16
    logprobs: TopLogprobs | None = None


class GenerateRequest(RequestModel):
    """Continue a prompt given as token ids.

    Attributes:
        model: Name of the served model; optional.
        token_ids: The prompt.
        sampling_params: How tokens are drawn.
        stream: Send the tokens while they are drawn.
        stream_options: What else the stream contains.
        priority: Requests with lower numbers go first.
        cache_salt: Share cached prefixes only with requests of the same salt.
        request_id: The answer's id.
    """

    not_done: ClassVar[Mapping[str, str]] = {
        "features": "marcot reads only token ids",
        "kv_transfer_params": "marcot does not move KV caches between servers",
    }

    model: str | None = None
    token_ids: Annotated[list[TokenId], Field(min_length=1)]
    sampling_params: TokenSampling = TokenSampling()
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    priority: Priority = 0
    cache_salt: CacheSalt | None = None
    request_id: RequestId | None = None


class GenerateChoice(AnswerModel):
    """One sample; in a stream, its next tokens. See `CompletionChoice`."""

    index: int
    token_ids: list[int]
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None
    confidence: float | None = None


class GenerateAnswer(AnswerModel):
    """The answer, or a chunk of its stream."""

    request_id: str
    choices: list[GenerateChoice]
    prompt_logprobs: PromptLogprobs | None = None
    usage: UsageAnswer | None = None
