"""The base class of values, which rate chains of reasoning."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from ....kernels import MAX_TOP_K
from ...checking import check_integer
from ...errors import CallableError
from ..trace import Trace

_ROUNDING = 1e-6
"""How far outside its range a value may be because of rounding, as in means and products of probabilities."""


class Value(ABC):
    """Rates chains, finished or not, from 0 to 1.

    Your own value implements `of`; or `rate`, if rating many chains at once is cheaper, as with a reward model. If it
    is `slow`, it can have a method `batch(traces) -> list[float]` too, which takes chains of several questions and must
    rate each as it would alone.
    """

    @property
    def width(self) -> int:
        """How many of the most probable tokens per position it needs: columns of `Trace.top_logprobs`."""
        return 1

    @property
    def needs_reference(self) -> bool:
        """Whether it needs the right answer to rate a chain."""
        return False

    @property
    def slow(self) -> bool:
        """Whether rating takes so long that other questions should go on meanwhile: it then runs in another thread."""
        return False

    @property
    def timeout(self) -> float | None:
        """Seconds that a slow rating may take from its start before its question fails; None for no limit."""
        return None

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in options and results."""

    def prepare(self) -> None:  # noqa: B027  (most values need not)
        """Get ready to rate, such as by loading a model; called before the first chain of a question is drawn."""

    def of(self, trace: Trace) -> float:
        """The value of one chain."""
        raise NotImplementedError(f"{type(self).__name__} needs a method of or rate")

    def rate(self, traces: Sequence[Trace]) -> list[float]:
        """The values of chains that ended at the same time."""
        return [self.of(trace) for trace in traces]


def check_width(name: str, value: object) -> int:
    """Check that `value` is a valid number of most probable tokens, and return it.

    Raises:
        InputError: It is not an integer from 1 to `MAX_TOP_K`.
    """
    return check_integer(name, value, f"an integer from 1 to {MAX_TOP_K}", least=1, most=MAX_TOP_K)


def rating(name: str, value: object) -> float:
    """The rating of a chain by the value called `name`, as a float.

    Raises:
        CallableError: It is not a number from 0 to 1.
    """
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError):  # an array or tensor of several values
        number = math.nan
    if not -_ROUNDING <= number <= 1 + _ROUNDING:
        raise CallableError(f"{name} rated a chain {value!r}: a value must be a number from 0 to 1")
    return min(max(number, 0.0), 1.0)
