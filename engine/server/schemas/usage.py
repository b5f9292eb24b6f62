"""Token counts in answers."""

from __future__ import annotations

from .base import AnswerModel


class PromptTokensDetails(AnswerModel):
    """How many of the prompts' tokens were in the KV cache already."""

    cached_tokens: int


class UsageAnswer(AnswerModel):
    """Token counts of a request.

    Attributes:
        prompt_tokens: Tokens of its prompts, each prompt counted once whatever `n` is.
        completion_tokens: Tokens drawn, including those that ended a sample.
        total_tokens: Sum of both.
        prompt_tokens_details: How many of the prompts' tokens were in the KV cache already; null if not counted.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None
