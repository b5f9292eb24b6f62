"""A user's own value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..trace import Trace
from ..user_code import name_of
from .value import Value, columns, rating


@dataclass(frozen=True, slots=True)
class Judge(Value):
    """A function of a chain: a process reward model, a verifier, a rule.

    Attributes:
        function: Rates a `Trace` from 0 to 1.
        width: How many columns of `Trace.top_logprobs` the function needs.
    """

    function: Callable[[Trace], float]
    width: int = 5

    def __post_init__(self) -> None:
        """Check `width`.

        Raises:
            InputError: It is not a possible number of tokens.
        """
        object.__setattr__(self, "width", columns("width", self.width))

    @property
    def name(self) -> str:
        """Where the function, or the class of an object that is called, is defined: `"module:function"`."""
        return name_of(self.function)

    def of(self, trace: Trace) -> float:
        """The function's result.

        Raises:
            CallableError: It is not a number from 0 to 1.
        """
        return rating(self.name, self.function(trace))
