"""`POST /v1/completions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import AnswerModel
from .sampling import SamplingRequest, TokenId
from .usage import UsageAnswer

FinishReason = Literal["stop", "length", "abort"]
"""Why a sample ended: the model or a stop ended it, its length, or the server."""


class CompletionRequest(SamplingRequest):
    """Continue a prompt, or several.

    Attributes:
        prompt: A text, token ids, or a list of either.
        max_tokens: New tokens at most; 0 with `echo` only rates the prompt.
        echo: The text begins with the prompt.
        logprobs: Log-probabilities of the tokens, with so many of the most probable ones.
        add_special_tokens: Whether a text begins as the tokenizer begins a document.
    """

    not_done: ClassVar[Mapping[str, str]] = {
        **SamplingRequest.not_done,
        "suffix": "marcot does not fill in between a prompt and a suffix; leave the suffix out",
    }

    prompt: (
        str
        | list[TokenId]
        | Annotated[list[str], Field(min_length=1)]
        | Annotated[list[list[TokenId]], Field(min_length=1)]
    )
    max_tokens: Annotated[int, Field(ge=0, lt=2**31)] | None = 16
    echo: bool | None = False
    logprobs: Annotated[int, Field(ge=0)] | None = None
    add_special_tokens: bool = True


class PromptLogprob(AnswerModel):
    """One token in a place of the prompt.

    Attributes:
        logprob: Its raw log-probability.
        rank: Its place among all tokens, from 1; null for one that is not among those that were looked at.
        decoded_token: Its text.
    """

    logprob: float
    rank: int | None
    decoded_token: str


PromptLogprobs = list[dict[str, PromptLogprob] | None]
"""For each token of a prompt the most probable ones in its place and itself, by their numbers; null for the first."""


class CompletionLogprobs(AnswerModel):
    """Log-probabilities of a text's tokens, as OpenAI's completions have them.

    Attributes:
        text_offset: Where in the text each token begins.
        token_logprobs: Null for the first token of a prompt.
        tokens: Their texts.
        top_logprobs: The most probable tokens in each place, and the token itself.
        confidences: Marco-o1's confidence of each; null for tokens of a prompt.
    """

    text_offset: list[int]
    token_logprobs: list[float | None]
    tokens: list[str]
    top_logprobs: list[dict[str, float] | None]
    confidences: list[float | None]


class CompletionChoice(AnswerModel):
    """One sample.

    Attributes:
        index: Its number: prompt by prompt, `n` of each.
        text: The text, or in a stream the next piece of it.
        logprobs: Of its tokens, if they were asked for.
        finish_reason: Null until it has ended.
        stop_reason: The text or the token that ended it; null where it was an end-of-sequence token.
        confidence: Mean of Marco-o1's token confidences, when it has ended.
        token_ids: Its tokens, if they were asked for.
        prompt_token_ids: Those of its prompt; in a stream with the first piece.
        prompt_logprobs: Those of its prompt's tokens, if they were asked for; in a stream with the first piece.
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
    """The answer, or a piece of its stream."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: UsageAnswer | None = None
    system_fingerprint: str | None = None
