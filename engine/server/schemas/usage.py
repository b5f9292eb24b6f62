"""What an answer says about the tokens that it took."""

from __future__ import annotations

from .base import AnswerModel


class PromptTokensDetails(AnswerModel):
    """Of a prompt's tokens."""

    cached_tokens: int


class UsageAnswer(AnswerModel):
    """Tokens of a request.

    Attributes:
        prompt_tokens: Of its prompts, each counted once, whatever `n` is.
        completion_tokens: Drawn, those that ended a sample included.
        total_tokens: Both.
        prompt_tokens_details: How many of the prompts' tokens were in the KV cache already.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
