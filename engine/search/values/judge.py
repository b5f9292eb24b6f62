"""A user's own value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ...errors import InputError
from ..trace import Trace
from .value import Value


@dataclass(frozen=True, slots=True)
class Judge(Value):
    """A function of a chain: a process reward model, a verifier, a rule.

    Attributes:
        function: Rates a `Trace` from 0 to 1.
        width: How many of the most probable tokens `Trace.top_logprobs` must have for it.
    """

    function: Callable[[Trace], float]
    width: int = 5

    @property
    def name(self) -> str:
        """Where the function, or the class of an object that is called, is defined: `"module:function"`."""
        return f"{self.function.__module__}:{getattr(self.function, '__qualname__', type(self.function).__name__)}"

    def of(self, trace: Trace) -> float:
        """What the function says.

        Raises:
            InputError: It says something that is no number from 0 to 1.
        """
        value = float(self.function(trace))
        if not (math.isfinite(value) and 0.0 <= value <= 1.0):
            raise InputError(f"{self.name} rated a chain {value!r}: a value must be from 0 to 1")
        return value
