"""What linear layers and the LM head have in common: rows of a weight times rows of activations, on one thread block.

The weight's rows are the rows of a tile, the activations' rows its columns. There are always many of the former, so that
also a single branch fills the side of a tensor core's instruction that has 64 of them and more (wgmma, tcgen05), and
quantised codes, which have to pass through registers, are on the side that instructions take from registers.

Codes are multiplied as they are: integers of up to 8 bits are exact in fp16 and bf16. The scale of a group meets the sum
of its products, in fp32, which is one multiplication per 32 codes and row of activations instead of one per code, and
rounds nothing that the file holds. Minimums meet the sum of the group's activations, a product with ones.
"""

from __future__ import annotations

import triton
import triton.language as tl

STEP = 128
"""Columns of a quantised weight that one turn of the loop takes: the longest group."""

_STEP = tl.constexpr(STEP)


@triton.jit
def dense_tile(matrix, x, out, row, rows, columns, x_stride, BLOCK_K: tl.constexpr):
    """`[out, row]` fp32 sums of products; rows of `x` from `rows` on count as zeros.

    `matrix` is `[.., columns]`, `out` and `row` are vectors of row numbers.
    """
    step = tl.arange(0, BLOCK_K)
    weights = matrix + out.to(tl.int64)[:, None] * columns + step[None, :]
    activations = x + row[None, :] * x_stride + step[:, None]
    acc = tl.zeros([out.shape[0], row.shape[0]], tl.float32)
    for start in range(0, columns, BLOCK_K):
        left = columns - start
        a = tl.load(weights + start, mask=step[None, :] < left, other=0.0)
        b = tl.load(activations + start, mask=(row < rows)[None, :] & (step[:, None] < left), other=0.0)
        acc = tl.dot(a, b, acc, input_precision="ieee")
    return acc


@triton.jit
def dense_tile_x(matrix, x, out, row, rows, columns, x_stride, BLOCK_K: tl.constexpr):
    step = tl.arange(0, BLOCK_K)
    weights = matrix + out.to(tl.int64)[None, :] * columns + step[:, None]
    activations = x + row[:, None] * x_stride + step[None, :]
    acc = tl.zeros([row.shape[0], out.shape[0]], tl.float32)
    for start in range(0, columns, BLOCK_K):
        left = columns - start
        a = tl.load(weights + start, mask=step[:, None] < left, other=0.0)
        b = tl.load(activations + start, mask=(row < rows)[:, None] & (step[None, :] < left), other=0.0)
        acc = tl.dot(b, a, acc, input_precision="ieee")
    return acc


@triton.jit
def half_byte(raw, PLANE: tl.constexpr, BITS: tl.constexpr):
    """The codes of one half of a strip's bytes, or of the whole bytes."""
    if BITS == 8:
        return raw
    else:
        return (raw >> (4 * PLANE)) & 15


@triton.jit
def quantized_tile(
    codes,
    scales,
    minimums,
    supers,
    super_minimums,
    x,
    out,
    row,
    rows,
    outs,
    columns,
    x_stride,
    first,
    last,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    CENTRE: tl.constexpr,
):
    """`[out, row]` fp32 sums over columns `[first, last)`, `first` a multiple of `STEP`.

    The weight is a `QuantizedSection` of `outs` rows; `columns` is a multiple of 32.
    """
    UNIT: tl.constexpr = GROUP if GROUP < 32 else 32
    HALVES: tl.constexpr = 8 // BITS
    dtype = x.dtype.element_ty
    lane = tl.arange(0, UNIT)
    ones = tl.full([out.shape[0], UNIT], 1.0, dtype)
    acc = tl.zeros([out.shape[0], row.shape[0]], tl.float32)
    for start in range(first, last, _STEP):
        for unit in tl.static_range(_STEP // UNIT):
            column = start + unit * UNIT
            is_there = column < columns
            if unit % HALVES == 0:
                strip = column // (UNIT * HALVES)
                place = (strip.to(tl.int64) * outs + out)[:, None] * UNIT + lane[None, :]
                raw = tl.load(codes + place, mask=is_there, other=0)
            code = half_byte(raw, unit % HALVES, BITS)
            a = (code.to(tl.int16) - CENTRE).to(dtype)
            place = row[None, :] * x_stride + column + lane[:, None]
            b = tl.load(x + place, mask=(row < rows)[None, :] & is_there, other=0.0)
            if unit * UNIT % GROUP == 0:
                products = tl.zeros([out.shape[0], row.shape[0]], tl.float32)
                sums = products
            products = tl.dot(a, b, products, input_precision="ieee")
            if minimums is not None:
                sums = tl.dot(ones, b, sums, input_precision="ieee")
            if (unit + 1) * UNIT % GROUP == 0:
                group = (column // GROUP).to(tl.int64) * outs + out
                scale = tl.load(scales + group, mask=is_there, other=0).to(tl.float32)
                if supers is not None:
                    scale *= tl.load(supers + (column // 256).to(tl.int64) * outs + out, mask=is_there, other=0.0)
                acc += products * scale[:, None]
                if minimums is not None:
                    minimum = tl.load(minimums + group, mask=is_there, other=0).to(tl.float32)
                    if super_minimums is not None:
                        place = (column // 256).to(tl.int64) * outs + out
                        minimum *= -tl.load(super_minimums + place, mask=is_there, other=0.0)
                    acc += sums * minimum[:, None]
    return acc
