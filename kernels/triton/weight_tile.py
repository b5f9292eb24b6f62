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

from .code_numbers import numbers_of, values_of


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
def factors_of(words, number, CENTRE: tl.constexpr, NESTED: tl.constexpr):
    """Scale and minimum in fp32 of the group with this number in a chunk, whose words are from `factor_words`.

    Formats with a centre have no minimums.
    """
    KINDS: tl.constexpr = 2 if CENTRE == 0 else 1
    scale = _number_in(words[0], number * KINDS, NESTED)
    if NESTED:
        scale *= _number_in(words[1], 0, False)
    minimum = tl.zeros_like(scale)
    if CENTRE == 0:
        minimum = _number_in(words[0], number * KINDS + 1, NESTED)
        if NESTED:
            minimum *= -_number_in(words[1], 1, False)
    return scale, minimum


@triton.jit
def _number_in(word, place, IS_BYTE: tl.constexpr):
    """One of the fp16 or int8 numbers in a word, in fp32."""
    if IS_BYTE:
        return (word >> (8 * place)).to(tl.int8).to(tl.float32)
    else:
        return (word >> (16 * place)).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)


@triton.jit
def factor_words(factors, supers, out, outs, chunk, columns, GROUP: tl.constexpr):
    """The words of a chunk of columns for the rows `out`, or those of the last one behind the end."""
    CHUNK: tl.constexpr = GROUP if GROUP > 64 else 64
    chunk = tl.minimum(chunk, tl.cdiv(columns, CHUNK) - 1)
    word = tl.load(factors + out + chunk * outs)
    of_word = word  # stands for what is not there
    if supers is not None:
        of_word = tl.load(supers + out + chunk // (256 // CHUNK) * outs)
    return word, of_word


@triton.jit
def _table(down, across, FLIPPED: tl.constexpr):
    """Sums of two vectors: `[down, across]`, or `[across, down]`."""
    if FLIPPED:
        return down[None, :] + across[:, None]
    else:
        return down[:, None] + across[None, :]


@triton.jit
def _per_out(factor, FLIPPED: tl.constexpr):
    return factor[None, :] if FLIPPED else factor[:, None]


@triton.jit
def exact_tile(
    codes,
    factors,
    supers,
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
    WHOLE: tl.constexpr = False,
    PTX: tl.constexpr = False,
):
    """`[out, row]` fp32 products over columns `[first, last)`, `first` a multiple of `STEP`; flipped `[row, out]`.

    The weight is a `QuantizedSection` of `outs` rows; `columns` is a multiple of 32, `STEP` one of a chunk. `WHOLE`
    says that steps end where columns do, `PTX` is for NVIDIA's cards. Rows of `x` from `rows` on are as the last one.
    """
    PLANES: tl.constexpr = 16 // BITS
    CHUNK: tl.constexpr = GROUP if GROUP > 64 else 64
    SHAPE: tl.constexpr = (row.shape[0], out.shape[0]) if FLIPPED else (out.shape[0], row.shape[0])
    dtype: tl.constexpr = x.dtype.element_ty
    lane = tl.arange(0, 16)
    ones = tl.full([16, out.shape[0]] if FLIPPED else [out.shape[0], 16], 1.0, dtype)
    strips = codes + _table(out * 16, lane, FLIPPED)
    activations = x + _table(lane, tl.minimum(row, rows - 1) * x_stride, FLIPPED)
    acc = tl.zeros(SHAPE, tl.float32)
    words = ()
    for number in tl.static_range(STEP // CHUNK):
        words = words + (  # type: ignore[assignment]  # noqa: RUF005 - a device function has no starred
            factor_words(factors, supers, out, outs, first // CHUNK + number, columns, GROUP),
        )
    for chunk in range(first // CHUNK, tl.cdiv(last, CHUNK), STEP // CHUNK):
        following = ()
        for unit in tl.static_range(STEP // 16):
            at = activations + chunk * CHUNK + unit * 16
            strip = strips + chunk * (CHUNK // (16 * PLANES)) * (outs * 16) + unit // PLANES * (outs * 16)
            is_there = chunk * CHUNK + unit * 16 < columns
            if unit % PLANES == 0:
                word = _loaded(strip, is_there, WHOLE)
            b = _loaded(at, is_there, WHOLE)
            a = numbers_of(word, unit % PLANES, BITS, CENTRE, dtype, PTX)
            if unit * 16 % GROUP == 0:
                products = tl.zeros(SHAPE, tl.float32)
                sums = products
            products = _dot(a, b, products, FLIPPED)
            if CENTRE == 0:
                sums = _dot(ones, b, sums, FLIPPED)
            if (unit + 1) * 16 % GROUP == 0:
                group = unit * 16 % CHUNK // GROUP
                scale, minimum = factors_of(words[unit * 16 // CHUNK], group, CENTRE, supers is not None)
                acc += products * _per_out(scale, FLIPPED)
                if CENTRE == 0:
                    acc += sums * _per_out(minimum, FLIPPED)
            if (unit + 1) * 16 % CHUNK == 0:
                # Of the next turn: the registers are free by now, so nothing is moved, and there is a turn's time.
                ahead = chunk + STEP // CHUNK + unit * 16 // CHUNK
                following = following + (  # type: ignore[assignment]  # noqa: RUF005
                    factor_words(factors, supers, out, outs, ahead, columns, GROUP),
                )
        words = following
    return acc


@triton.jit
def quantized_tile(
    codes, factors, minimums, supers, super_minimums, x, out, row, rows, outs, columns, x_stride, first, last,
    BITS: tl.constexpr, GROUP: tl.constexpr, CENTRE: tl.constexpr, STEP: tl.constexpr, FLIPPED: tl.constexpr,
):  # fmt: skip
    """`exact_tile` for the LM head."""
    return exact_tile(
        codes, factors, supers, x, out, row, rows, outs, columns, x_stride, first, last,
        BITS, GROUP, CENTRE, STEP, FLIPPED,
    )  # fmt: skip


@triton.jit
def rounded_tile(
    codes,
    factors,
    supers,
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
    FLIPPED: tl.constexpr,
    WHOLE: tl.constexpr,
    PTX: tl.constexpr,
):
    """As `exact_tile`, but of weights that are rounded to the dtype of `x`, a chunk of columns at a time.

    A strip is one product. Its columns come in the order in which threads hold them, eight of a plane at a time.
    """
    PLANES: tl.constexpr = 16 // BITS
    STRIP: tl.constexpr = 16 * PLANES
    CHUNK: tl.constexpr = GROUP if GROUP > 64 else 64
    SHAPE: tl.constexpr = (row.shape[0], out.shape[0]) if FLIPPED else (out.shape[0], row.shape[0])
    dtype: tl.constexpr = x.dtype.element_ty
    number = tl.arange(0, STRIP)
    place = number // 8 % PLANES * 16 + number // (8 * PLANES) * 8 + number % 8
    place = tl.max_contiguous(tl.multiple_of(place, 8), 8)
    strips = codes + (out * 16)[:, None] + tl.arange(0, 16)[None, :]
    activations = x + _table(place, tl.minimum(row, rows - 1) * x_stride, FLIPPED)
    acc = tl.zeros(SHAPE, tl.float32)
    for chunk in range(first // CHUNK, tl.cdiv(last, CHUNK)):
        pair = factor_words(factors, supers, out, outs, chunk, columns, GROUP)
        for strip in tl.static_range(CHUNK // STRIP):
            words = strips + chunk * (CHUNK // STRIP) * (outs * 16) + strip * (outs * 16)
            at = activations + chunk * CHUNK + strip * STRIP
            column = chunk * CHUNK + strip * STRIP
            word = _loaded(words, column < columns, WHOLE)
            b = _loaded(at, _table(column + place, row * 0, FLIPPED) < columns, WHOLE)
            planes = ()
            for plane in tl.static_range(PLANES):
                group = (strip * STRIP + plane * 16) // GROUP
                scale, minimum = factors_of(pair, group, CENTRE, supers is not None)
                scale = tl.broadcast_to(scale[:, None], word.shape)
                minimum = tl.broadcast_to(minimum[:, None], word.shape)
                values = values_of(word, scale, minimum, plane, BITS, CENTRE, dtype, PTX)
                planes = planes + (tl.reshape(values, [out.shape[0], 2, 8]),)  # type: ignore[assignment]  # noqa: RUF005
            a = _side_by_side(planes, out.shape[0], PLANES)
            acc = _dot(tl.trans(a) if FLIPPED else a, b, acc, FLIPPED)
    return acc


@triton.jit
def _loaded(pointers, is_there, WHOLE: tl.constexpr):
    if WHOLE:
        return tl.load(pointers)
    else:
        return tl.load(pointers, mask=is_there, other=0)


@triton.jit
def _side_by_side(planes, OUTS: tl.constexpr, PLANES: tl.constexpr):
    """`[OUTS, 16 * PLANES]` from tables `[OUTS, 2, 8]` of as many planes."""
    if PLANES == 2:
        joined = tl.join(planes[0], planes[1])
    else:
        joined = tl.join(tl.join(planes[0], planes[2]), tl.join(planes[1], planes[3]))
    return tl.reshape(tl.permute(tl.reshape(joined, [OUTS, 2, 8, PLANES]), [0, 1, 3, 2]), [OUTS, 16 * PLANES])


@triton.jit
def _dot(a, b, acc, FLIPPED: tl.constexpr):
    if FLIPPED:
        return tl.dot(b, a, acc, input_precision="ieee")
    else:
        return tl.dot(a, b, acc, input_precision="ieee")
