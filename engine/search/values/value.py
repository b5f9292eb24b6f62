"""What a chain of reasoning is worth."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from ....kernels import MAX_TOP_K
from ...checking import check_integer
from ...errors import CallableError
from ..trace import Trace

_ROUNDING = 1e-6
"""How far a value may be out of its range: means and products of probabilities end there by rounding."""


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


def columns(name: str, value: object) -> int:
    """`value` as a number of the most probable tokens.

    Raises:
        InputError: There are not so many, or it is no number of tokens.
    """
    return check_integer(name, value, f"an integer from 1 to {MAX_TOP_K}", least=1, most=MAX_TOP_K)


def rating(name: str, value: object) -> float:
    """What the value called `name` says of a chain, as a float.

    Raises:
        CallableError: It is no number from 0 to 1.
    """
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError):  # an array or a tensor of several
        number = math.nan
    if not -_ROUNDING <= number <= 1 + _ROUNDING:
        raise CallableError(f"{name} rated a chain {value!r}: a value must be from 0 to 1")
    return min(max(number, 0.0), 1.0)
