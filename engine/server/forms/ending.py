"""Finish reasons and stop reasons of samples, as answers name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....model import Tokenizer
from ...completion import FinishReason
from ...sampling.sampling import Sampling
from ..schemas.completion import FinishReason as ToldReason

_TOLD: Mapping[FinishReason, ToldReason] = {
    "eos": "stop",
    "stop": "stop",
    "length": "length",
    "cancelled": "abort",
    "pruned": "abort",
}


def told_reason(reason: FinishReason | None) -> ToldReason | None:
    """OpenAI's name for a finish reason; None if the sample has not ended."""
    return None if reason is None else _TOLD[reason]


def stop_reason(
    reason: FinishReason | None, token_ids: Sequence[int], sampling: Sampling, tokenizer: Tokenizer | None
) -> str | int | None:
    """The stop text or stop token that ended a sample of `token_ids`; None if neither did."""
    if reason != "stop" or not token_ids:
        return None
    last = token_ids[-1]
    if last in sampling.stop_token_ids:
        return last
    if tokenizer is None:
        return None
    for stop in sampling.stop:
        if tokenizer.special_tokens.get(stop) == last:
            return stop
    text = tokenizer.decode(token_ids)
    found = [(at, stop) for at, stop in ((text.find(stop), stop) for stop in sampling.stop) if at >= 0]
    return min(found)[1] if found else None
