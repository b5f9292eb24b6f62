"""Whether numbers are finite, where nothing else looks at them."""

from __future__ import annotations

from torch import Tensor

from .errors import NonFiniteError


def check_finite(weight: Tensor) -> None:
    """See that no element of `weight` is infinite or NaN, which all results would be in the end.

    Raises:
        NonFiniteError: One is.
    """
    if weight.is_floating_point() and not weight.isfinite().all():
        raise NonFiniteError("a weight is infinite or NaN")
