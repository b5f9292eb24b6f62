"""A user's own value."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..slow_code import is_async, is_slow, timeout_of
from ..trace import Trace
from ..user_code import name_of
from .value import Value, check_width, rating


@dataclass(frozen=True, slots=True)
class Judge(Value):
    """A function of a chain: a process reward model, a verifier, a rule.

    Attributes:
        function: Rates a `Trace` from 0 to 1; may be asynchronous. Its attributes `slow`, `timeout` and `batch` mean
            what they mean for a `Value`. It is also slow if it is asynchronous or has a `batch`, unless its `slow` is
            False.
        width: How many columns of `Trace.top_logprobs` the function needs.
    """

    function: Callable[[Trace], float | Awaitable[float]]
    width: int = 5

    def __post_init__(self) -> None:
        """Check `width` and the attributes of the function.

        Raises:
            InputError: One of them is not possible.
        """
        object.__setattr__(self, "width", check_width("width", self.width))
        is_slow(self.function)
        timeout_of(self.function)

    @property
    def name(self) -> str:
        """Where the function, or the class of an object that is called, is defined: `"module:function"`."""
        return name_of(self.function)

    @property
    def slow(self) -> bool:
        """See `Value.slow`."""
        return is_slow(self.function)

    @property
    def timeout(self) -> float | None:
        """See `Value.timeout`."""
        return timeout_of(self.function)

    @property
    def batch(self) -> Callable[[Sequence[Trace]], Any] | None:
        """The function's own `batch`, if it has one."""
        return getattr(self.function, "batch", None)

    def of(self, trace: Trace) -> float:
        """The function's result.

        Raises:
            CallableError: It is not a number from 0 to 1.
        """
        return self.rate([trace])[0]

    def rate(self, traces: Sequence[Trace]) -> list[float]:
        """The results for all of `traces`, by `batch` if the function has it.

        Raises:
            CallableError: One is not a number from 0 to 1.
        """
        rated = self.call(traces) if self.batch is None else self.batch(traces)
        if isinstance(rated, Awaitable):
            rated = asyncio.run(_result(rated))
        return [rating(self.name, value) for value in rated]

    def call(self, traces: Sequence[Trace]) -> Sequence[Any] | Awaitable[Sequence[Any]]:
        """Call the function for each of `traces`; if it is asynchronous, return an awaitable of all its results."""
        if is_async(self.function):
            return _gathered([self.function(trace) for trace in traces])
        return [self.function(trace) for trace in traces]


async def _result(waiting: Awaitable[Any]) -> Any:  # noqa: ANN401
    return await waiting


async def _gathered(waiting: Sequence[Any]) -> list[Any]:
    return list(await asyncio.gather(*waiting))
