"""Parses the options of `Engine.load` and resolves `auto` for this machine; an invalid one is an `InputError`."""

from __future__ import annotations

from typing import cast, get_args

import torch

from ..kernels import Compute, Kernels
from ..model import Checkpoint, WeightFormat
from .errors import InputError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def parse_device(name: str) -> torch.device:
    """The device called `"cpu"`, `"cuda"`, or `"auto"`: a GPU if there is one."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device={name!r}: must be auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device='cuda': torch sees no GPU here; use device='cpu', or install a CUDA build of torch")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def parse_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype called `name`; `"auto"` is fp32 on the CPU, bf16 on a GPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in _DTYPES:
        raise InputError(f"dtype={name!r}: must be auto, {', '.join(_DTYPES)}")
    return _DTYPES[name]


def number_settings(dtype: str, compute: str, weights: str, kv_dtype: str) -> dict[str, str]:
    """The settings for number formats, on which results depend.

    `kv_dtype` is included only if it is not the default, because older files do not have it.
    """
    numbers = {"dtype": dtype, "compute": compute, "weights": weights}
    return numbers if kv_dtype == "auto" else numbers | {"kv_dtype": kv_dtype}


def parse_weights(name: str) -> WeightFormat:
    """The storage format of weights called `name`."""
    if name not in get_args(WeightFormat):
        raise InputError(f"weights={name!r}: must be {', '.join(get_args(WeightFormat))}")
    return cast(WeightFormat, name)


def check_compute(name: str) -> None:
    """Check that `name` is a compute mode, before a checkpoint is opened."""
    if name not in ("auto", *get_args(Compute)):
        raise InputError(f"compute={name!r}: must be auto, {', '.join(get_args(Compute))}")


def resolve_compute(name: str, checkpoint: Checkpoint, weights: WeightFormat, kernels: Kernels) -> Compute:
    """The compute mode called `name`; `"auto"` is `"fast"` where that is faster, else `"exact"`."""
    quantised = checkpoint.quantised or weights in ("int8", "int4")
    if name == "fast" and not quantised:
        raise InputError(
            f"compute='fast' needs quantised weights, and {checkpoint.path} has none: add --weights int8 "
            "(weights='int8'), or use compute='exact'"
        )
    if name == "auto":
        return "fast" if quantised and kernels.fast_is_faster else "exact"
    return cast(Compute, name)


def resolve_kv_dtype(kv_dtype: str, kernels: Kernels) -> torch.dtype | None:
    """The dtype of fp8 pages, or None to store K and V as they are computed."""
    if kv_dtype not in ("auto", "fp8"):
        raise InputError(f"kv_dtype={kv_dtype!r}: must be auto or fp8")
    if kv_dtype == "fp8" and kernels.fp8_dtype is None:
        raise InputError(
            f"kv_dtype='fp8': the {kernels.name} kernels have no fp8 cache; use kv_dtype='auto', or run on a GPU "
            "(device='cuda'). MARCOT_KERNELS=reference has fp8 on the CPU, but is slow"
        )
    return kernels.fp8_dtype if kv_dtype == "fp8" else None
