"""Products with fp8 values, computed in fp16, which holds every fp8 number exactly and takes one conversion."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from typing import Final

import torch
import triton
import triton.language as tl

from ..arch import Arch
from .shape import fp8_dtype

_FEW: Final = 32
"""Maximum rows of a product for which tensor cores of every architecture take the second operand from registers."""

_MOST_SUMS: Final = 64 * 128
"""Maximum sums of a product that leave enough registers for values that are loaded ahead."""


def held_in(arch: Arch, pages: torch.dtype, rows: int, columns: int) -> torch.dtype:
    """The dtype that values of `pages` are loaded as, for products with `rows` times `columns` sums.

    E4M3 is loaded as int16 or int32 if the GPU converts two values at a time: as int16 where tensor cores take both
    operands from registers, as int32 where they take the second one from shared memory, as on sm_90 and sm_100.
    """
    if not (pages == torch.float8_e4m3fn == fp8_dtype(arch)) or rows * columns > _MOST_SUMS:
        return pages
    from_memory = rows > _FEW and 90 <= int(arch.name.removeprefix("sm_")) < 120
    return torch.int32 if from_memory else torch.int16


@triton.jit
def as_half(x):
    """Return `x` in fp16, each row divided by a power of two so that no value is above 2, and these powers in fp32."""
    x = x.to(tl.float32)
    exponent = tl.max(tl.abs(x), axis=1).to(tl.int32, bitcast=True) & 0x7F800000
    exponent = tl.minimum(tl.maximum(exponent, 1 << 23), 253 << 23)  # its reciprocal must be a normal number too
    reciprocal = ((254 << 23) - exponent).to(tl.float32, bitcast=True)
    return (x * reciprocal[:, None]).to(tl.float16), exponent.to(tl.float32, bitcast=True)


@triton.jit
def split_columns(x, PAIRS: tl.constexpr):
    """The even and the odd columns of `x` if values come in pairs; otherwise `x` and 0."""
    if PAIRS:
        even, odd = tl.split(tl.reshape(x, [x.shape[0], x.shape[1] // 2, 2]))
    else:
        even, odd = x, 0
    return even, odd


@triton.jit
def joined_columns(even, odd, PAIRS: tl.constexpr):
    """Undo `split_columns`."""
    return tl.reshape(tl.join(even, odd), [even.shape[0], even.shape[1] * 2]) if PAIRS else even


@triton.jit
def scores_of(even, odd, k, PAIRS: tl.constexpr):
    """Products of the queries, split by columns, with the keys `k`."""
    if PAIRS:
        even_k, odd_k = halves_of_pairs(k)
        scores = tl.dot(odd, tl.trans(odd_k), tl.dot(even, tl.trans(even_k)))
    else:
        scores = tl.dot(even, tl.trans(k.to(even.dtype)), input_precision="ieee")
    return scores


@triton.jit
def with_values(even, odd, kept, weights, v, PAIRS: tl.constexpr):
    """Multiply the sums, split by columns, by `kept`, and add the values `v` times their `weights`."""
    if PAIRS:
        even_v, odd_v = halves_of_pairs(v)
        even = tl.dot(weights, even_v, even * kept[:, None])
        odd = tl.dot(weights, odd_v, odd * kept[:, None])
    else:
        even = tl.dot(weights, v.to(weights.dtype), even * kept[:, None], input_precision="ieee")
    return even, odd


@triton.jit
def halves_of_pairs(pairs):
    """The first and the second E4M3 value of each int16, in fp16.

    Two values that are multiplied with the same factor are then in one register, where tensor cores need them. Triton
    leaves int16 values in place, but it would move single bytes there one by one.
    """
    return tl.inline_asm_elementwise(
        """{
        .reg .b32 bytes;
        .reg .b16 two;
        prmt.b32 bytes, $2, 0, 0x4420;
        cvt.u16.u32 two, bytes;
        cvt.rn.f16x2.e4m3x2 $0, two;
        prmt.b32 bytes, $2, 0, 0x4431;
        cvt.u16.u32 two, bytes;
        cvt.rn.f16x2.e4m3x2 $1, two;
        }""",
        "=r,=r,r",
        [pairs],
        dtype=(tl.float16, tl.float16),
        is_pure=True,
        pack=2,
    )


@triton.jit
def halves_of_words(words, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """The four E4M3 values of each int32, in fp16: `[ROWS, COLUMNS]`."""
    first, second, third, fourth = tl.inline_asm_elementwise(
        """{
        .reg .b16 low, high;
        .reg .b32 two;
        mov.b32 {low, high}, $4;
        cvt.rn.f16x2.e4m3x2 two, low;
        mov.b32 {$0, $1}, two;
        cvt.rn.f16x2.e4m3x2 two, high;
        mov.b32 {$2, $3}, two;
        }""",
        "=h,=h,=h,=h,r",
        [words],
        dtype=(tl.float16, tl.float16, tl.float16, tl.float16),
        is_pure=True,
        pack=1,
    )
    return tl.reshape(tl.join(tl.join(first, third), tl.join(second, fourth)), [ROWS, COLUMNS])
