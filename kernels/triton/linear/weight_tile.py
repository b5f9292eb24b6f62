"""Rows of activations times rows of a weight in one thread block, for linear layers and the LM head.

With few rows, quantised codes are multiplied as they are: integers of up to 8 bits are exact in fp16 and bf16. The
scale of a group is applied to the sum of its products, in fp32. That is one multiplication for each 32 codes and row of
activations instead of one per code, and it rounds nothing that the file holds. Minimums are multiplied with the sum of
the group's activations, which is computed as a product with ones. With many rows that would be too much work: there,
the codes are scaled first, once for all rows.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
# ruff: noqa: RUF005 - device functions have no starred expressions
import triton
import triton.language as tl

from .code_numbers import numbers_of, values_of


@triton.jit
def dense_tile(matrix, x, out, row, rows, columns, x_stride, BLOCK_K: tl.constexpr):
    """`[row, out]` fp32 products of rows of `x` with rows of `matrix` (`[.., columns]`).

    `row` and `out` are vectors of row indices; rows of `x` from index `rows` on count as zeros.
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
    """The scale and minimum, in fp32, of the group with index `number` in a chunk; `words` are from `factor_words`.

    Formats with a centre have no minimums; theirs is 0.
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
    """The fp16 or int8 number at `place` in a word, as fp32."""
    if IS_BYTE:
        return (word >> (8 * place)).to(tl.int8).to(tl.float32)
    else:
        return (word >> (16 * place)).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)


@triton.jit
def factor_words(factors, supers, out, outs, chunk, columns, GROUP: tl.constexpr):
    """The words of a chunk of columns for the rows `out`; after the last chunk, those of the last chunk."""
    CHUNK: tl.constexpr = GROUP if GROUP > 64 else 64
    chunk = tl.minimum(chunk, tl.cdiv(columns, CHUNK) - 1)
    word = tl.load(factors + out + chunk * outs)
    of_word = word  # a stand-in if there are no supers
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
def exact_tiles(
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
    TILES: tl.constexpr,
    WHOLE: tl.constexpr,
    PTX: tl.constexpr,
):
    """`[out, row]` fp32 products over columns `[first, last)`, `first` a multiple of a chunk; flipped `[row, out]`.

    The result is a tuple of `TILES` such tables, each for the rows of the weight that follow those of the one before,
    as far as there are any. The weight is a `QuantizedSection` of `outs` rows; `columns` is a multiple of 32. `WHOLE`
    says that it is also a multiple of a chunk; `PTX` selects instructions of NVIDIA's cards. Rows of `x` from index
    `rows` on count as zeros.
    """
    PLANES: tl.constexpr = 16 // BITS
    CHUNK: tl.constexpr = GROUP if GROUP > 64 else 64
    SHAPE: tl.constexpr = (row.shape[0], out.shape[0]) if FLIPPED else (out.shape[0], row.shape[0])
    dtype: tl.constexpr = x.dtype.element_ty
    lane = tl.arange(0, 16)
    ones = tl.full([16, out.shape[0]] if FLIPPED else [out.shape[0], 16], 1.0, dtype)
    activations = x + _table(lane, row * x_stride, FLIPPED)
    is_row = _table(lane * 0, tl.where(row < rows, 1, 0), FLIPPED) > 0
    results, lanes, strips = (), (), ()
    for tile in tl.static_range(TILES):
        of_tile = tl.minimum(out + tile * out.shape[0], outs - 1)
        results = results + (tl.zeros(SHAPE, tl.float32),)
        lanes = lanes + (of_tile,)
        strips = strips + (codes + _table(of_tile * 16, lane, FLIPPED),)
    pairs = _pairs(factors, supers, lanes, outs, first // CHUNK, columns, GROUP, TILES)
    for chunk in range(first // CHUNK, tl.cdiv(last, CHUNK)):
        for group in tl.static_range(CHUNK // GROUP):
            products, sums = (), tl.zeros(SHAPE, tl.float32)
            for _ in tl.static_range(TILES):
                products = products + (tl.zeros(SHAPE, tl.float32),)
            for unit in tl.static_range(group * (GROUP // 16), (group + 1) * (GROUP // 16)):
                is_there = chunk * CHUNK + unit * 16 < columns
                if unit % PLANES == 0:
                    at = (chunk * (CHUNK // (16 * PLANES)) + unit // PLANES) * (outs * 16)
                    words = _words(strips, at, is_there, TILES, WHOLE)
                is_x = is_row if WHOLE else is_row & is_there
                b = tl.load(activations + chunk * CHUNK + unit * 16, mask=is_x, other=0.0)
                before, products = products, ()
                for tile in tl.static_range(TILES):
                    a = numbers_of(words[tile], unit % PLANES, BITS, CENTRE, dtype, PTX)
                    products = products + (_dot(a, b, before[tile], FLIPPED),)
                if CENTRE == 0:
                    sums = _dot(ones, b, sums, FLIPPED)
            before, results = results, ()
            for tile in tl.static_range(TILES):
                scale, minimum = factors_of(pairs[tile], group, CENTRE, supers is not None)
                acc = before[tile] + products[tile] * _per_out(scale, FLIPPED)
                if CENTRE == 0:
                    acc += sums * _per_out(minimum, FLIPPED)
                results = results + (acc,)
        # For the next iteration: the registers are free by now, so nothing is moved, and the loads have an iteration's
        # time.
        pairs = _pairs(factors, supers, lanes, outs, chunk + 1, columns, GROUP, TILES)
    return results


@triton.jit
def _pairs(factors, supers, lanes, outs, chunk, columns, GROUP: tl.constexpr, TILES: tl.constexpr):
    """`factor_words` of each tile."""
    pairs = ()
    for tile in tl.static_range(TILES):
        pairs = pairs + (factor_words(factors, supers, lanes[tile], outs, chunk, columns, GROUP),)
    return pairs


@triton.jit
def _words(strips, at, is_there, TILES: tl.constexpr, WHOLE: tl.constexpr):
    """The words of one strip for each tile."""
    words = ()
    for tile in tl.static_range(TILES):
        words = words + (_loaded(strips[tile] + at, is_there, WHOLE),)
    return words


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
    WHOLE: tl.constexpr,
    PTX: tl.constexpr,
):
    """Like one tile of `exact_tiles`, with weights rounded to the dtype of `x`: a strip of columns is one product."""
    PLANES: tl.constexpr = 16 // BITS
    STRIP: tl.constexpr = 16 * PLANES
    CHUNK: tl.constexpr = GROUP if GROUP > 64 else 64
    dtype: tl.constexpr = x.dtype.element_ty
    step = tl.arange(0, STRIP)
    strips = codes + (out * 16)[:, None] + tl.arange(0, 16)[None, :]
    activations = x + step[:, None] + (row * x_stride)[None, :]
    acc = tl.zeros([out.shape[0], row.shape[0]], tl.float32)
    for chunk in range(first // CHUNK, tl.cdiv(last, CHUNK)):
        pair = factor_words(factors, supers, out, outs, chunk, columns, GROUP)
        for strip in tl.static_range(CHUNK // STRIP):
            column = chunk * CHUNK + strip * STRIP
            at = chunk * (CHUNK // STRIP) * (outs * 16) + strip * (outs * 16)
            words = _loaded(strips + at, column < columns, WHOLE)
            is_x = (row < rows)[None, :]
            if not WHOLE:
                is_x = is_x & (column + step < columns)[:, None]
            b = tl.load(activations + chunk * CHUNK + strip * STRIP, mask=is_x, other=0.0)
            planes = ()
            for plane in tl.static_range(PLANES):
                group = (strip * STRIP + plane * 16) // GROUP
                scale, minimum = factors_of(pair, group, CENTRE, supers is not None)
                scale = tl.broadcast_to(scale[:, None], words.shape)
                minimum = tl.broadcast_to(minimum[:, None], words.shape)
                values = values_of(words, scale, minimum, plane, BITS, CENTRE, dtype, PTX)
                planes = planes + (values,)
            acc = _dot(_side_by_side(planes, out.shape[0], PLANES), b, acc, False)
    return acc


@triton.jit
def _loaded(pointers, is_there, WHOLE: tl.constexpr):
    if WHOLE:
        return tl.load(pointers)
    else:
        return tl.load(pointers, mask=is_there, other=0)


@triton.jit
def _side_by_side(planes, OUTS: tl.constexpr, PLANES: tl.constexpr):
    """Join `PLANES` tables `[OUTS, 16]` into one table `[OUTS, 16 * PLANES]`."""
    if PLANES == 2:
        joined = tl.join(planes[0], planes[1])
    else:
        joined = tl.reshape(tl.join(tl.join(planes[0], planes[2]), tl.join(planes[1], planes[3])), [OUTS, 16, PLANES])
    return tl.reshape(tl.permute(joined, [0, 2, 1]), [OUTS, 16 * PLANES])


@triton.jit
def _dot(a, b, acc, FLIPPED: tl.constexpr):
    if FLIPPED:
        return tl.dot(b, a, acc, input_precision="ieee")
    else:
        return tl.dot(a, b, acc, input_precision="ieee")
