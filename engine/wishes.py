"""What the words of a user who loads a model mean on this machine; those that mean nothing are an `InputError`."""

from __future__ import annotations

from typing import cast, get_args

import torch

from ..kernels import Compute, Kernels
from ..model import Checkpoint, WeightFormat
from .errors import InputError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device_of(name: str) -> torch.device:
    """The device called `"cpu"`, `"cuda"`, or `"auto"`: a GPU if there is one."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device={name!r}: must be auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device='cuda': torch sees no GPU here; use device='cpu', or install a CUDA build of torch")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """The number format that is called so; `"auto"` is fp32 on the CPU, bf16 on a GPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in _DTYPES:
        raise InputError(f"dtype={name!r}: must be auto, {', '.join(_DTYPES)}")
    return _DTYPES[name]


def numbers_of(dtype: str, compute: str, weights: str, kv_dtype: str) -> dict[str, str]:
    """What results depend on, by the names in their settings.

    The KV cache's is named only where it is not as by default: older files have none.
    """
    numbers = {"dtype": dtype, "compute": compute, "weights": weights}
    return numbers if kv_dtype == "auto" else numbers | {"kv_dtype": kv_dtype}


def weights_of(name: str) -> WeightFormat:
    """What weights are kept as."""
    if name not in get_args(WeightFormat):
        raise InputError(f"weights={name!r}: must be {', '.join(get_args(WeightFormat))}")
    return cast(WeightFormat, name)


def check_compute(name: str) -> None:
    """See that there is such a compute mode, before a checkpoint is opened."""
    if name not in ("auto", *get_args(Compute)):
        raise InputError(f"compute={name!r}: must be auto, {', '.join(get_args(Compute))}")


def compute_of(name: str, checkpoint: Checkpoint, weights: WeightFormat, kernels: Kernels) -> Compute:
    """The compute mode that is called so; `"auto"` is fast where that gains time."""
    quantised = checkpoint.quantised or weights in ("int8", "int4")
    if name == "fast" and not quantised:
        raise InputError(
            f"compute='fast' needs quantised weights, and {checkpoint.path} has none: add --weights int8 "
            "(weights='int8'), or compute exactly"
        )
    if name == "auto":
        return "fast" if quantised and kernels.fast_is_faster else "exact"
    return cast(Compute, name)


def fp8_dtype_of(kv_dtype: str, kernels: Kernels) -> torch.dtype | None:
    """What pages hold, if K and V are not kept as they are computed."""
    if kv_dtype not in ("auto", "fp8"):
        raise InputError(f"kv_dtype={kv_dtype!r}: must be auto or fp8")
    if kv_dtype == "fp8" and kernels.fp8_dtype is None:
        raise InputError(
            f"kv_dtype='fp8': the {kernels.name} kernels keep K and V as they compute them; leave it at auto, or run "
            "on a GPU (device='cuda'). MARCOT_KERNELS=reference has fp8 on the CPU, slowly"
        )
    return kernels.fp8_dtype if kv_dtype == "fp8" else None
