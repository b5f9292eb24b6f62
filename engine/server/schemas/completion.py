"""`POST /v1/completions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import AnswerModel
from .limited import limited
from .sampling import CacheSalt, SamplingRequest, TokenId, TopLogprobs
from .usage import UsageAnswer

FinishReason = Literal["stop", "length", "abort"]
"""Why a sample ended: `stop` for the model or a stop, `length` for the token limit, `abort` for the server."""


class CompletionRequest(SamplingRequest):
    """Continue one or more prompts.

    Attributes:
        prompt: A text, token ids, or a list of either.
        max_tokens: Most new tokens; 0 with `echo` only scores the prompt.
        echo: Start the text with the prompt.
        logprobs: Return log-probabilities of the tokens, and this many of the most probable tokens per position.
        add_special_tokens: Put the tokenizer's BOS token, if it adds one, before a text.
        cache_salt: Share cached prefixes only with requests of the same salt.
    """

    not_done: ClassVar[Mapping[str, str]] = {
        **SamplingRequest.not_done,
        "suffix": "marcot does not fill in between a prompt and a suffix; leave the suffix out",
    }

    prompt: (
        str
        | Annotated[list[TokenId], Field(min_length=1)]
        | Annotated[list[str], Field(min_length=1)]
        | Annotated[list[Annotated[list[TokenId], Field(min_length=1)]], Field(min_length=1)]
    )
    max_tokens: Annotated[int, Field(ge=0, lt=2**31, json_schema_extra=limited("new tokens"))] | None = 16
    echo: bool | None = False
    logprobs: TopLogprobs | None = None
    add_special_tokens: bool = True
    cache_salt: CacheSalt | None = None


class PromptLogprob(AnswerModel):
    """One token at a position of the prompt.

    Attributes:
        logprob: Its raw log-probability.
        rank: Its rank by probability, from 1; null if it is not among the most probable tokens that were computed.
        decoded_token: Its text.
    """

    logprob: float
    rank: int | None
    decoded_token: str


PromptLogprobs = list[dict[str, PromptLogprob] | None]
"""For each token of a prompt, the most probable tokens at its position and itself, by id; null for the first."""


class CompletionLogprobs(AnswerModel):
    """Log-probabilities of a text's tokens, as OpenAI's completions have them.

    Attributes:
        text_offset: Character offset in the text at which each token begins.
        token_logprobs: Log-probability of each token; null for the first token of a prompt.
        tokens: Text of each token.
        top_logprobs: The most probable tokens at each position, and the token itself.
        confidences: Marco-o1's confidence of each token; null for tokens of a prompt.
    """

    text_offset: list[int]
    token_logprobs: list[float | None]
    tokens: list[str]
    top_logprobs: list[dict[str, float] | None]
    confidences: list[float | None]


class CompletionChoice(AnswerModel):
    """One sample.

    Attributes:
        index: Its number, counted prompt by prompt with `n` samples each.
        text: The text; in a stream, the next part of it.
        logprobs: Log-probabilities of its tokens, if requested.
        finish_reason: Why the sample ended; null until then.
        stop_reason: The stop text or stop token that ended it; null if an end-of-sequence token did.
        confidence: Mean of Marco-o1's token confidences; null until the sample has ended.
        token_ids: Its token ids, if requested.
        prompt_token_ids: Token ids of its prompt, if requested; in a stream, only in the first chunk.
        prompt_logprobs: Log-probabilities of the prompt's tokens, if requested; in a stream, only in the first chunk.
    """

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None
    confidence: float | None = None
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: PromptLogprobs | None = None


class CompletionAnswer(AnswerModel):
    """The answer, or a chunk of its stream."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: UsageAnswer | None = None
    system_fingerprint: str | None = None
