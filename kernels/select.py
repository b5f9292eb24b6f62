"""Chooses the op set for a device."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Final, cast

import torch

from . import reference
from .errors import KernelsUnavailableError
from .ops import Kernels

_LOGGER = logging.getLogger(__name__)

ENVIRONMENT_VARIABLE = "MARCOT_KERNELS"
_INTERPRET: Final = "TRITON_INTERPRET"


def select(device: torch.device, dtype: torch.dtype = torch.float32, deterministic: bool = False) -> Kernels:
    """Return the best op set: `triton` on a GPU, `cpu` for fp32 on the CPU, or `reference` if that is unavailable.

    The environment variable `MARCOT_KERNELS` overrides the choice. Without it, falling back to the slow reference is
    logged once as a warning, with the reason.

    Args:
        device: Device to run on.
        dtype: Compute dtype of the activations.
        deterministic: Whether the set must be batch-invariant, as the CPU kernels always are: a row has the same bits
            in any batch.

    Raises:
        KernelsUnavailableError: `MARCOT_KERNELS` names a set that does not exist or does not work here, or the set
            must be deterministic and cannot be.
    """
    kernels = _fitting(device, dtype, deterministic)
    if deterministic and not kernels.deterministic:
        raise KernelsUnavailableError(
            f"the {kernels.name} kernels are not deterministic, because torch's products are not: the last bits of "
            "a branch may depend on the rest of the batch. On the CPU, use the C++ kernels in float32, or omit "
            "the option"
        )
    return kernels


def _fitting(device: torch.device, dtype: torch.dtype, deterministic: bool) -> Kernels:
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        if chosen not in _SETS:
            known = ", ".join(sorted(_SETS))
            raise KernelsUnavailableError(f"{ENVIRONMENT_VARIABLE}={chosen}: no such kernel set; known: {known}")
        return _SETS[chosen](device, dtype, deterministic)
    try:
        return (_cpu if device.type == "cpu" else _triton)(device, dtype, deterministic)
    except KernelsUnavailableError as error:
        first, *rest = str(error).splitlines()
        more = f" (all of it with {ENVIRONMENT_VARIABLE}=cpu)" if rest else ""
        _warn_once(f"running on the slow reference kernels: {first}{more}")
        return _reference(device, dtype, deterministic)


def _reference(device: torch.device, dtype: torch.dtype, deterministic: bool) -> Kernels:
    return cast(Kernels, reference)


def _cpu(device: torch.device, dtype: torch.dtype, deterministic: bool) -> Kernels:
    if device.type != "cpu":
        raise KernelsUnavailableError(f"the CPU kernels do not run on {device}")
    if dtype != torch.float32:
        raise KernelsUnavailableError(
            f"the CPU kernels compute in float32, not in {str(dtype).removeprefix('torch.')}; to save "
            "memory, keep float32 and store the weights in half the space with --weights bf16"
        )
    from .cpu import load

    try:
        return load()
    except OSError as error:
        raise KernelsUnavailableError(f"the CPU kernels were built, but cannot be loaded: {error}") from error


def _triton(device: torch.device, dtype: torch.dtype, deterministic: bool) -> Kernels:
    interpreted = os.environ.get(_INTERPRET) == "1"
    if device.type == "cpu" and not interpreted:
        raise KernelsUnavailableError(
            f"the Triton kernels need a GPU; {_INTERPRET}=1 runs them on the CPU in Triton's interpreter, very slowly"
        )
    if interpreted and dtype == torch.bfloat16:
        raise KernelsUnavailableError(
            "Triton's interpreter gets bfloat16 products wrong: use --dtype float16 or float32"
        )
    try:
        from .triton import load
    except ImportError as error:
        raise KernelsUnavailableError(f"the GPU kernels need Triton ({error}): pip install 'marcot[gpu]'") from error
    return cast(Kernels, load(device, deterministic))


@functools.cache
def _warn_once(message: str) -> None:
    _LOGGER.warning(message)


_SETS: Final[dict[str, Callable[[torch.device, torch.dtype, bool], Kernels]]] = {
    "cpu": _cpu,
    "reference": _reference,
    "triton": _triton,
}
