"""Token counts for answers."""

from __future__ import annotations

from ..schemas.usage import PromptTokensDetails, UsageAnswer


def usage_of(prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> UsageAnswer:
    """Token counts of a request; each prompt counts once."""
    return UsageAnswer(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=cached_tokens),
    )
