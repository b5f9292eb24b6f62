"""The product of SwiGLU, `silu(gate) * up`."""

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

_VALUES = 1024
"""Results per thread block: 8 per thread, which are 128 bits of a 16-bit dtype."""


@launched(tensors=2, counts=1)
def _silu_mul(y, gate_up, rows, width, stride, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Compute `ROWS` rows times `WIDTH` columns of the result; the product is rounded once."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)[None, :]
    inside = (row < rows) & (column < width)
    gate = tl.load(gate_up + row * stride + column, inside, 0.0).to(tl.float32)
    up = tl.load(gate_up + row * stride + width + column, inside, 0.0).to(tl.float32)
    tl.store(y + row * width + column, (gate / (1.0 + tl.exp(-gate)) * up).to(y.dtype.element_ty), inside)


def silu_mul(gate_up: Tensor) -> Tensor:
    """`silu(gate) * up`. See `Kernels.silu_mul`."""
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    assert gate_up.shape[1] == 2 * width
    gate_up = gate_up if gate_up.stride(1) == 1 else gate_up.contiguous()
    y = torch.empty(rows, width, dtype=gate_up.dtype, device=gate_up.device)
    if rows:
        at_once, columns = _block(width)
        grid = (-(-rows // at_once), -(-width // columns))
        _silu_mul[grid](y, gate_up, rows, width, gate_up.stride(0), at_once, columns, num_warps=4)
    return y


@cache
def _block(width: int) -> tuple[int, int]:
    """Rows and columns of a thread block."""
    columns = min(_VALUES, 1 << (width - 1).bit_length())
    return _VALUES // columns, columns


def silu_mul_variants(arch: Arch) -> Iterator[Variant]:
    """Every binary that `silu_mul` launches in 16 bits for widths above 512 that are multiples of 16."""
    at_once, columns = _block(_VALUES)
    for dtype in (torch.float16, torch.bfloat16):
        tensor = pointer_to(dtype)
        signature = {"y": tensor, "gate_up": tensor} | dict.fromkeys(("rows", "width", "stride"), "i32")
        constants: dict[str, object] = {"ROWS": at_once, "WIDTH": columns}
        aligned = ("y", "gate_up", "width", "stride")
        yield Variant(f"silu_mul {tensor[1:]}", _silu_mul, signature, constants, 4, 3, aligned)
