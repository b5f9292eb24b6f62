"""Values, which rate chains. One base class, and one file per value."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeGuard

from ...checking import refuse_class
from ...errors import InputError
from ..trace import Trace
from ..user_import import import_attribute, instantiate, is_import_path
from .ground_truth import GroundTruth
from .group_confidence import GroupConfidence
from .judge import Judge
from .marco_confidence import MarcoConfidence
from .mean_logprob import MeanLogprob
from .mixture import Mixture
from .value import Value, rating

__all__ = [
    "VALUES",
    "GroundTruth",
    "GroupConfidence",
    "Judge",
    "MarcoConfidence",
    "MeanLogprob",
    "Mixture",
    "Value",
    "rating",
    "resolve_value",
]

VALUES: dict[str, Value] = {
    value.name: value
    for value in (
        MarcoConfidence(),
        GroupConfidence("group"),
        GroupConfidence("lowest"),
        GroupConfidence("tail"),
        MeanLogprob(),
        GroundTruth(),
    )
}
"""Values by name. There are also `marco-kN`, your own as `module:name`, mixtures such as `0.7*marco+0.3*logprob`, and
`judge:MODEL`, which asks a second model."""

_BY_MODEL = "judge:"

_MARCO = re.compile(r"marco-k([1-9]\d?)")
_PART = re.compile(r"\s*(\d*\.?\d+)\s*\*\s*(.+?)\s*")


def resolve_value(choice: str | Value | Callable[[Trace], float]) -> Value:
    """The value that `choice` names, `choice` itself, or a value that calls the function `choice`.

    Raises:
        InputError: There is no such value, or `choice` is not a name, a value or a function.
    """
    if isinstance(choice, Value):
        return choice
    refuse_class("value", choice, Value)
    if not isinstance(choice, str):
        if not _rates(choice):
            raise InputError(f"value={choice!r}: must be a name, a Value, or a function of a Trace")
        return Judge(choice)
    if "*" in choice:
        return Mixture(tuple(_weighted(part, choice) for part in choice.split("+")))
    if choice in VALUES:
        return VALUES[choice]
    if (match := _MARCO.fullmatch(choice)) and int(match[1]) <= 64:
        return MarcoConfidence(int(match[1]))
    if choice.startswith(_BY_MODEL) or is_import_path(choice):
        return _imported(choice)
    raise InputError(
        f"value {choice!r}: must be one of {', '.join(VALUES)}, marco-kN (N up to 64), your own value as module:name, "
        "judge:MODEL for a second model, or a mixture such as 0.7*marco+0.3*logprob"
    )


def _weighted(part: str, choice: str) -> tuple[float, Value]:
    match = _PART.fullmatch(part)
    if match is None or float(match[1]) <= 0:
        raise InputError(f"value {choice!r}: each part of a mixture must be a weight above 0, * and a value")
    return float(match[1]), resolve_value(match[2])


def _imported(path: str) -> Value:
    if path.startswith(_BY_MODEL):  # imported by name, because judges need an engine, and engines import this package
        judge: Value = import_attribute("marcot.engine.judging:parse_judge", "value")(path)  # type: ignore[operator]
        return judge
    found = instantiate(import_attribute(path, "value"), path, "value")
    if isinstance(found, Value):
        return found
    if not _rates(found):
        raise InputError(f"value {path!r}: is {found!r:.60}; it must be a function of a Trace, or a Value")
    return Judge(found)


def _rates(choice: object) -> TypeGuard[Callable[[Trace], float]]:
    """Whether `choice` is a function, or has a `batch`, which is all that is called then."""
    return callable(choice) or callable(getattr(choice, "batch", None))
