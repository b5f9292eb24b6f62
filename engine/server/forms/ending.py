"""Finish reasons of samples, as answers name them."""

from __future__ import annotations

from collections.abc import Mapping

from ...completion import FinishReason
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
