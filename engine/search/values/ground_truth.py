"""A value that compares a chain with the right answer."""

from __future__ import annotations

from dataclasses import dataclass

from ..answers import answers_agree
from ..trace import Trace
from .value import Value


@dataclass(frozen=True, slots=True)
class GroundTruth(Value):
    """1 if the chain is complete and gives the reference answer, else 0. For data sets, or as the perfect judge."""

    @property
    def name(self) -> str:
        """`"ground-truth"`."""
        return "ground-truth"

    @property
    def needs_reference(self) -> bool:
        """True: it compares with the right answer."""
        return True

    def of(self, trace: Trace) -> float:
        """0 or 1."""
        assert trace.reference is not None
        return float(trace.complete and answers_agree(trace.answer, trace.reference))
