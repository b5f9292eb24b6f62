"""What linear layers and the LM head have in common: rows of activations times rows of a weight, on one thread block.

Quantised codes are multiplied as they are: integers of up to 8 bits are exact in fp16 and bf16. The scale of a group
meets the sum of its products, in fp32. That is one multiplication for each 32 codes and row of activations, instead of
one per code, and it rounds nothing that the file holds. Minimums meet the sum of the group's activations, which is
their product with ones.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
import triton
import triton.language as tl


@triton.jit
def dense_tile(matrix, x, out, row, rows, columns, x_stride, BLOCK_K: tl.constexpr):
    """`[row, out]` fp32 products of rows of `x` with rows of `matrix` (`[.., columns]`).

    `row` and `out` are vectors of row numbers; rows of `x` from `rows` on count as zeros.
    """
    step = tl.arange(0, BLOCK_K)
    weights = matrix + out.to(tl.int64)[None, :] * columns + step[:, None]
    activations = x + row[:, None] * x_stride + step[None, :]
    acc = tl.zeros([row.shape[0], out.shape[0]], tl.float32)
    for start in range(0, columns, BLOCK_K):
        left = columns - start
        a = tl.load(activations + start, mask=(row < rows)[:, None] & (step[None, :] < left), other=0.0)
        b = tl.load(weights + start, mask=step[:, None] < left, other=0.0)
        acc = tl.dot(a, b, acc, input_precision="ieee")
    return acc


@triton.jit
def codes_of_plane(words, PLANE: tl.constexpr, BITS: tl.constexpr):
    """The codes in bits `[PLANE * BITS, (PLANE + 1) * BITS)` of each word."""
    return (words >> (PLANE * BITS)) & ((1 << BITS) - 1)


@triton.jit
def number_of(code, CENTRE: tl.constexpr, BITS: tl.constexpr, dtype: tl.constexpr):
    """`code - CENTRE` in `dtype`. Where they fit, codes become the last bits of a float's mantissa: no conversion."""
    if dtype == tl.float16:
        return (code | 0x6400).to(tl.float16, bitcast=True) - (1024.0 + CENTRE)
    elif dtype == tl.bfloat16 and BITS == 4:
        return (code | 0x4300).to(tl.bfloat16, bitcast=True) - (128.0 + CENTRE)
    elif CENTRE == 128:
        return (code ^ 128).to(tl.int8).to(dtype)
    else:
        return (code.to(tl.int16) - CENTRE).to(dtype)


@triton.jit
def factors_of(scales, minimums, supers, super_minimums, out, outs, column, columns, GROUP: tl.constexpr):
    """Scale and minimum of the group at `column` for the rows `out` of a weight, fp32; zeros behind its end."""
    is_there = column < columns
    group = (column // GROUP).to(tl.int64) * outs + out
    scale = tl.load(scales + group, mask=is_there, other=0).to(tl.float32)
    minimum = scale
    if supers is not None:
        scale *= tl.load(supers + (column // 256).to(tl.int64) * outs + out, mask=is_there, other=0.0)
    if minimums is not None:
        minimum = tl.load(minimums + group, mask=is_there, other=0).to(tl.float32)
        if super_minimums is not None:
            place = (column // 256).to(tl.int64) * outs + out
            minimum *= -tl.load(super_minimums + place, mask=is_there, other=0.0)
    return scale, minimum


@triton.jit
def _step_factors(
    scales, minimums, supers, super_minimums, out, outs, start, columns, GROUP: tl.constexpr, STEP: tl.constexpr
):
    """`factors_of` each group of a step."""
    factors = ()
    for group in tl.static_range(STEP // GROUP):
        column = start + group * GROUP
        of_group = factors_of(scales, minimums, supers, super_minimums, out, outs, column, columns, GROUP)
        factors = factors + (of_group,)  # type: ignore[assignment]  # noqa: RUF005 - a device function has no starred
    return factors


@triton.jit
def _table(down, across, FLIPPED: tl.constexpr):
    """Sums of two vectors: `[down, across]`, or `[across, down]`."""
    if FLIPPED:
        return down[None, :] + across[:, None]
    else:
        return down[:, None] + across[None, :]


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
    STEP: tl.constexpr,
    FLIPPED: tl.constexpr,
):
    """`[out, row]` fp32 products over columns `[first, last)`, `first` a multiple of `STEP`; flipped `[row, out]`.

    The weight is a `QuantizedSection` of `outs` rows; `columns` is a multiple of 32.
    """
    PLANES: tl.constexpr = 16 // BITS
    SHAPE: tl.constexpr = (row.shape[0], out.shape[0]) if FLIPPED else (out.shape[0], row.shape[0])
    dtype: tl.constexpr = x.dtype.element_ty
    lane = tl.arange(0, 16)
    none = tl.zeros([16], tl.int32)
    ones = tl.full([16, out.shape[0]] if FLIPPED else [out.shape[0], 16], 1.0, dtype)
    acc = tl.zeros(SHAPE, tl.float32)
    following = _step_factors(scales, minimums, supers, super_minimums, out, outs, first, columns, GROUP, STEP)
    for start in range(first, last, STEP):
        factors = following  # of a step ahead, as nothing else waits for them so soon
        following = _step_factors(
            scales, minimums, supers, super_minimums, out, outs, start + STEP, columns, GROUP, STEP
        )
        for unit in tl.static_range(STEP // 16):
            column = start + unit * 16
            is_there = column < columns
            if unit % PLANES == 0:
                place = _table(((column // (16 * PLANES)).to(tl.int64) * outs + out) * 16, lane, FLIPPED)
                words = tl.load(codes + place, mask=is_there, other=0)
            a = number_of(codes_of_plane(words, unit % PLANES, BITS), CENTRE, BITS, dtype)
            is_row = _table(none, tl.where(row < rows, 0, 1), FLIPPED) == 0
            b = tl.load(x + _table(column + lane, row * x_stride, FLIPPED), mask=is_row & is_there, other=0.0)
            if unit * 16 % GROUP == 0:
                products = tl.zeros(SHAPE, tl.float32)
                sums = products
            products = _dot(a, b, products, FLIPPED)
            if minimums is not None:
                sums = _dot(ones, b, sums, FLIPPED)
            if (unit + 1) * 16 % GROUP == 0:
                scale, minimum = factors[unit * 16 // GROUP]
                acc += products * (scale[None, :] if FLIPPED else scale[:, None])
                if minimums is not None:
                    acc += sums * (minimum[None, :] if FLIPPED else minimum[:, None])
    return acc


@triton.jit
def _dot(a, b, acc, FLIPPED: tl.constexpr):
    if FLIPPED:
        return tl.dot(b, a, acc, input_precision="ieee")
    else:
        return tl.dot(a, b, acc, input_precision="ieee")
