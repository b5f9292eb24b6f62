"""A weighted mean of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...checking import check_number, shown
from ...errors import InputError
from ..trace import Trace
from .value import Value


@dataclass(frozen=True, slots=True)
class Mixture(Value):
    """A weighted mean of values.

    Attributes:
        parts: Weight and value of each.
    """

    parts: tuple[tuple[float, Value], ...]

    def __post_init__(self) -> None:
        """Check every part.

        Raises:
            InputError: There are no parts, or one is not a weight above 0 with a value.
        """
        if not self.parts:
            raise InputError("parts=(): a mixture needs at least one part")
        for part in self.parts:
            if not (isinstance(part, tuple) and len(part) == 2 and isinstance(part[1], Value)):
                raise InputError(f"parts: {shown(part)}: must be a weight and a Value")
            check_number("a weight", part[0], "a finite number > 0", above=0)

    @property
    def width(self) -> int:
        """The largest width of its parts."""
        return max(value.width for _, value in self.parts)

    @property
    def needs_reference(self) -> bool:
        """Whether one of its parts needs a reference."""
        return any(value.needs_reference for _, value in self.parts)

    @property
    def slow(self) -> bool:
        """Whether one of its parts is slow."""
        return any(value.slow for _, value in self.parts)

    @property
    def timeout(self) -> float | None:
        """The sum of its parts' time-outs; None if a slow part has none."""
        limits = [value.timeout for _, value in self.parts if value.slow]
        return sum(limit for limit in limits if limit is not None) if limits and None not in limits else None

    @property
    def name(self) -> str:
        """A name such as `"0.7*marco+0.3*logprob"`."""
        return "+".join(f"{weight:g}*{value.name}" for weight, value in self.parts)

    def prepare(self) -> None:
        """Prepare all parts."""
        for _, value in self.parts:
            value.prepare()

    def rate(self, traces: Sequence[Trace]) -> list[float]:
        """The weighted mean of the parts' ratings."""
        total = sum(weight for weight, _ in self.parts)
        rated = [(weight / total, value.rate(traces)) for weight, value in self.parts]
        return [sum(share * values[index] for share, values in rated) for index in range(len(traces))]
