"""Checks that weights are finite."""

from __future__ import annotations

from torch import Tensor

from .errors import NonFiniteError


def check_finite(weight: Tensor) -> None:
    """Check that no element of `weight` is infinite or NaN, as it would spread to all results.

    Raises:
        NonFiniteError: An element is infinite or NaN.
    """
    if weight.is_floating_point() and not weight.isfinite().all():
        raise NonFiniteError("a weight is infinite or NaN")
