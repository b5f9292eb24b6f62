"""Products with values in fp8: both sides meet in fp16, which holds every fp8 number, and takes one conversion."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
import torch
import triton
import triton.language as tl

from .arch import Arch
from .attention_shape import fp8_dtype


def has_words(arch: Arch, pages: torch.dtype) -> bool:
    """Whether `pages` are read four values at a time, in int32: E4M3 where the GPU converts it."""
    return pages == torch.float8_e4m3fn == fp8_dtype(arch)


@triton.jit
def as_half(x):
    """`x` in fp16, each row divided by a power of two so that nothing is above 2, and these powers in fp32."""
    x = x.to(tl.float32)
    exponent = tl.max(tl.abs(x), axis=1).to(tl.int32, bitcast=True) & 0x7F800000
    exponent = tl.minimum(tl.maximum(exponent, 1 << 23), 253 << 23)  # its reciprocal is to be a normal number as well
    reciprocal = ((254 << 23) - exponent).to(tl.float32, bitcast=True)
    return (x * reciprocal[:, None]).to(tl.float16), exponent.to(tl.float32, bitcast=True)


@triton.jit
def decoded(stored, dtype, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Values in `dtype`, `[ROWS, COLUMNS]`, of any type; or in fp16, of four E4M3 in an int32.

    Triton moves E4M3 one byte at a time to where a tensor core of 16 rows takes it, and converts it there.
    """
    if stored.dtype == tl.int32:
        first, second, third, fourth = tl.inline_asm_elementwise(
            """{
            .reg .b16 low, high;
            .reg .b32 pair;
            mov.b32 {low, high}, $4;
            cvt.rn.f16x2.e4m3x2 pair, low;
            mov.b32 {$0, $1}, pair;
            cvt.rn.f16x2.e4m3x2 pair, high;
            mov.b32 {$2, $3}, pair;
            }""",
            "=h,=h,=h,=h,r",
            [stored],
            dtype=(tl.float16, tl.float16, tl.float16, tl.float16),
            is_pure=True,
            pack=1,
        )
        values = tl.reshape(tl.join(tl.join(first, third), tl.join(second, fourth)), [ROWS, COLUMNS])
    else:
        values = stored.to(dtype)
    return values
