"""Independent chains that vote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..answers import AnswerRule
from .best_of_n import BestOfN


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SelfConsistency(BestOfN):
    """`rollouts` independent chains; the most frequent answer wins (arXiv 2203.11171)."""

    name: ClassVar[str] = "self-consistency"

    answer_rule: str | AnswerRule = "majority"
