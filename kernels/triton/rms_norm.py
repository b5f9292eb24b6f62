"""Residual add and RMSNorm: a row is read once and stays in registers."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from collections.abc import Iterator
from functools import cache

import torch
import triton.language as tl
from torch import Tensor

from .arch import Arch
from .launch import launched
from .variant import Variant, pointer_to

MAX_WIDTH = 32768
"""Widest row: what 1024 threads hold with 32 values each."""

_LEAST = 1024
"""Minimum number of values per thread block; if rows are narrower, it takes several."""

_WIDTHS = (512, 1024, 2048, 4096, 8192)
"""Hidden sizes of known models, rounded up to powers of two."""


@launched(tensors=5, counts=1)
def _rms_norm(
    y,
    h,
    x,
    residual,
    weight,
    rows,
    width,
    x_stride,
    residual_stride,
    eps,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Process `ROWS` rows; columns after a row's `width` count as zeros."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, WIDTH)[None, :]
    inside = (row < rows) & (column < width)
    total = tl.load(x + row * x_stride + column, inside, 0.0)
    if residual is not None:
        total += tl.load(residual + row * residual_stride + column, inside, 0.0)
        tl.store(h + row * width + column, total, inside)
    wide = total.to(tl.float32)
    mean = tl.sum(wide * wide, axis=1, keep_dims=True) / width
    normed = (wide * tl.rsqrt(mean + eps)).to(total.dtype).to(tl.float32)
    factor = tl.load(weight + column, column < width, 0.0).to(tl.float32)
    tl.store(y + row * width + column, (factor * normed).to(total.dtype), inside)


def rms_norm(x: Tensor, weight: Tensor, eps: float, residual: Tensor | None) -> tuple[Tensor, Tensor]:
    """`h = x + residual; h / sqrt(mean(h²) + eps) * weight`. See `Kernels.rms_norm`."""
    rows, width = x.shape
    assert width <= MAX_WIDTH, f"a row of {width} values does not fit the registers of a thread block"
    assert weight.shape == (width,)
    assert weight.dtype == x.dtype
    assert residual is None or (residual.shape == x.shape and residual.dtype == x.dtype)
    x = _with_whole_rows(x)
    residual = None if residual is None else _with_whole_rows(residual)
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    h = x if residual is None else torch.empty_like(y)
    if rows:
        at_once, padded, warps = _block(width)
        stride = x.stride(0)
        _rms_norm[(-(-rows // at_once),)](
            y, h, x, residual, weight, rows, width, stride, stride if residual is None else residual.stride(0), eps,
            at_once, padded, num_warps=warps,
        )  # fmt: skip
    return y, h


def _with_whole_rows(x: Tensor) -> Tensor:
    return x if x.stride(1) == 1 else x.contiguous()


@cache
def _block(width: int) -> tuple[int, int, int]:
    """Rows per thread block, their padded width, and number of warps: 16 values per thread, but at least 4 warps."""
    padded = 1 << (width - 1).bit_length()
    rows = max(1, _LEAST // padded)
    return rows, padded, min(max(rows * padded // 512, 4), 32)


def rms_norm_variants(arch: Arch) -> Iterator[Variant]:
    """Every binary that `rms_norm` launches in 16 bits for hidden sizes of up to 8192 that are multiples of 16."""
    for dtype in (torch.float16, torch.bfloat16):
        for width in _WIDTHS:
            for with_residual in (False, True):
                yield _variant(pointer_to(dtype), width, with_residual)


def _variant(tensor: str, width: int, with_residual: bool) -> Variant:
    at_once, padded, warps = _block(width)
    tensors = ("y", "h", "x", "weight", *(("residual",) if with_residual else ()))
    numbers = ("width", "x_stride", "residual_stride")
    signature = dict.fromkeys(tensors, tensor) | dict.fromkeys((*numbers, "rows"), "i32") | {"eps": "fp32"}
    constants: dict[str, object] = {"ROWS": at_once, "WIDTH": padded}
    if not with_residual:
        constants["residual"] = None
    name = f"rms_norm {tensor[1:]} {width}{' residual' if with_residual else ''}"
    return Variant(name, _rms_norm, signature, constants, warps, 3, (*tensors, *numbers))
