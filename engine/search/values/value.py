"""What a chain of reasoning is worth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from ..trace import Trace


class Value(ABC):
    """Rates chains, finished or not, from 0 to 1.

    A value of your own implements `of`, or `rate` if it is cheaper for many chains at once, as a reward model is.
    """

    @property
    def width(self) -> int:
        """How many of the most probable tokens it looks at."""
        return 1

    @property
    def needs_reference(self) -> bool:
        """Whether it rates chains by the right answer, which must be known then."""
        return False

    @property
    @abstractmethod
    def name(self) -> str:
        """What options and results call it."""

    def of(self, trace: Trace) -> float:
        """The value of one chain."""
        raise NotImplementedError(f"{type(self).__name__} needs a method of or rate")

    def rate(self, traces: Sequence[Trace]) -> list[float]:
        """The values of chains that ended at the same time."""
        return [self.of(trace) for trace in traces]
