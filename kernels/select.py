"""Choice of the op set for a device."""

from __future__ import annotations

import os
from typing import cast

import torch

from . import reference
from .errors import KernelsUnavailableError
from .ops import Kernels

ENVIRONMENT_VARIABLE = "MARCOT_KERNELS"

_SETS: dict[str, Kernels] = {"reference": cast(Kernels, reference)}


def select(device: torch.device) -> Kernels:
    """Return the op set that fits `device`; the environment variable `MARCOT_KERNELS` overrides the choice.

    Raises:
        KernelsUnavailableError: `MARCOT_KERNELS` names a set that does not exist.
    """
    name = os.environ.get(ENVIRONMENT_VARIABLE) or "reference"
    if name not in _SETS:
        known = ", ".join(sorted(_SETS))
        raise KernelsUnavailableError(f"{ENVIRONMENT_VARIABLE}={name}: no such kernel set for {device}; known: {known}")
    return _SETS[name]
