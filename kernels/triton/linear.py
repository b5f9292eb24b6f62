"""Linear layers.

Dense weights are multiplied by cuBLAS, or, where a row's result must not depend on how many rows there are, by a kernel
of ours whose tiles are always the same. Quantised ones have a kernel of ours for few rows. With many rows the reads are
no longer what counts: there they are decoded, a part of the weight at a time, and multiplied by cuBLAS as well.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..reference.quantize import round_trip
from .arch import Arch
from .block_codes import CodeFormat
from .code_variants import code_formats, code_name, word_arguments
from .embed import decode_rows
from .packed_linear import DenseSection, QuantizedSection, TritonLinear
from .variant import Variant, pointer_to
from .weight_tile import dense_tile, exact_tile, rounded_tile

_MOST_ROWS = 256
"""With more rows than these, weights are decoded first: that moves 36 bits per 4-bit code instead of 4, but once for
all rows, and leaves the products to kernels that reach the tensor cores' peak."""

_INVARIANT_ROWS = 32
"""Rows of a tile where results must not depend on the number of rows."""

_DECODED_BYTES = 1 << 26
"""Memory for the part of a weight that is decoded at a time."""

_FEWEST_STEPS = 4
"""Turns of the loop that a split of the columns has at least."""


@triton.jit(do_not_specialize=["rows", "splits", "steps_per_split"])
def _quantized_linear(
    y,
    partials,
    counters,
    x,
    codes,
    factors,
    supers,
    rows,
    outs,
    columns,
    splits,
    steps_per_split,
    x_stride,
    y_stride,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    CENTRE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    STEP: tl.constexpr,
    ROUNDED: tl.constexpr,
    FLIPPED: tl.constexpr,
    WHOLE: tl.constexpr,
    PTX: tl.constexpr,
):
    """One tile of the result, or the part of it that some steps of columns give; the last part adds them all."""
    lane = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    out = tl.minimum(lane, outs - 1)
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    split = tl.program_id(2)
    first = split * steps_per_split * STEP
    last = tl.minimum(first + steps_per_split * STEP, columns)
    if ROUNDED:
        acc = rounded_tile(
            codes, factors, supers, x, out, row, rows, outs, columns, x_stride, first, last,
            BITS, GROUP, CENTRE, FLIPPED, WHOLE, PTX,
        )  # fmt: skip
    else:
        acc = exact_tile(
            codes, factors, supers, x, out, row, rows, outs, columns, x_stride, first, last,
            BITS, GROUP, CENTRE, STEP, FLIPPED, WHOLE, PTX,
        )  # fmt: skip
    if FLIPPED:
        acc = tl.trans(acc)
    inside = (lane < outs)[:, None] & (row < rows)[None, :]
    if splits > 1:
        sums = partials + row.to(tl.int64)[None, :] * outs + lane[:, None]
        size = rows.to(tl.int64) * outs
        tl.store(sums + split * size, acc, inside)
        counter = counters + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
        tl.debug_barrier()  # all threads have stored
        if tl.atomic_add(counter, 1) == splits - 1:
            acc = tl.zeros([BLOCK_N, BLOCK_M], tl.float32)
            for part in range(splits):
                acc += tl.load(sums + part * size, inside, 0.0, cache_modifier=".cg")
            tl.store(y + row.to(tl.int64)[None, :] * y_stride + lane[:, None], acc.to(y.dtype.element_ty), inside)
            tl.store(counter, 0)
    else:
        tl.store(y + row.to(tl.int64)[None, :] * y_stride + lane[:, None], acc.to(y.dtype.element_ty), inside)


@triton.jit(do_not_specialize=["rows"])
def _dense_linear(
    y, x, matrix, rows, outs, columns, x_stride, y_stride,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """One tile of the result; every sum adds its columns in the same order."""
    lane = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    acc = dense_tile(matrix, x, tl.minimum(lane, outs - 1), row, rows, columns, x_stride, BLOCK_K)
    inside = (row < rows)[:, None] & (lane < outs)[None, :]
    tl.store(y + row.to(tl.int64)[:, None] * y_stride + lane[None, :], acc.to(y.dtype.element_ty), inside)


class LinearShape(NamedTuple):
    """What a kernel is compiled for, and how many blocks it is launched in.

    Attributes:
        rows: Rows of activations of a tile.
        outs: Rows of the weight of a tile.
        columns: Columns that one turn of the loop takes.
        warps: Warps of a thread block.
        stages: Depth of the software pipeline.
        rounded: Whether weights are rounded to the dtype before they are multiplied.
        flipped: Whether the tensor cores have rows of activations where else they have rows of the weight.
        blocks: Thread blocks per processor that the columns are split for.
    """

    rows: int
    outs: int
    columns: int
    warps: int
    stages: int
    rounded: int = 0
    flipped: int = 0
    blocks: int = 2


# By the rows of a tile.
_SHAPES: Final[Mapping[str, Mapping[int, LinearShape]]] = {
    "nvidia": {
        8: LinearShape(8, 32, 64, 2, 4, blocks=16),
        16: LinearShape(16, 64, 64, 2, 3, blocks=8),
        32: LinearShape(32, 64, 64, 2, 3, blocks=4),
        64: LinearShape(64, 64, 64, 4, 3, rounded=1, blocks=4),
        128: LinearShape(128, 128, 64, 8, 3, rounded=1, blocks=2),
    },
    "cdna": {16: LinearShape(16, 64, 64, 4, 3), 32: LinearShape(32, 64, 64, 4, 3)},
    "rdna": {16: LinearShape(16, 64, 64, 4, 2), 32: LinearShape(32, 64, 64, 4, 2)},
}


def _shapes(arch: Arch) -> Mapping[int, LinearShape]:
    return _SHAPES.get(arch.family, _SHAPES["nvidia"])


def _quantized_shape(arch: Arch, format: CodeFormat, rows: int) -> LinearShape:
    """For `rows` rows of activations; more than a tile has take several, which read the weight side by side."""
    shapes = _shapes(arch)
    shape = next((shape for block, shape in shapes.items() if block >= rows), shapes[max(shapes)])
    return shape._replace(columns=max(format.chunk, shape.columns))


def _invariant_shape(arch: Arch) -> LinearShape:
    return LinearShape(_INVARIANT_ROWS, 64, 64, 4, 3)


def linear(arch: Arch, x: Tensor, weight: TritonLinear, invariant: bool = False) -> Tensor:
    """`y = x Wᵀ`. See `Kernels.linear`.

    Args:
        arch: Whose tiles are used.
        x: `[rows, in_features]`.
        weight: `[out_features, in_features]`.
        invariant: Whether a row of the result has the same bits in every company.
    """
    assert x.shape[1] == weight.in_features
    assert x.dtype == weight.dtype
    x = x if x.stride(1) == 1 else x.contiguous()
    if len(weight.sections) == 1 and isinstance(weight.sections[0], DenseSection) and not invariant:
        return torch.nn.functional.linear(activations(x, weight.sections[0]), weight.sections[0].matrix)
    y = torch.empty(len(x), weight.out_features, dtype=x.dtype, device=x.device)
    for first, section in weight.placed() if len(x) else ():
        part = y[:, first : first + section.rows]
        if isinstance(section, QuantizedSection):
            _multiply_quantized(arch, part, activations(x, section), section, invariant)
        elif invariant:
            _multiply_invariant(arch, part, activations(x, section), section.matrix)
        else:
            torch.mm(activations(x, section), section.matrix.t(), out=part)
    return y


def activations(x: Tensor, section: DenseSection | QuantizedSection) -> Tensor:
    """`x` as `section` multiplies it: rounded to int8 and back where that is asked for."""
    return round_trip(x).to(x.dtype) if section.fast and len(x) else x


def _multiply_quantized(arch: Arch, y: Tensor, x: Tensor, section: QuantizedSection, invariant: bool) -> None:
    rows = len(x)
    if rows > _MOST_ROWS and not invariant:
        _multiply_decoded(y, x, section)
        return
    shape = _quantized_shape(arch, section.format, _INVARIANT_ROWS if invariant else rows)
    launch_quantized(arch, y, x, section, shape, invariant)


def launch_quantized(
    arch: Arch, y: Tensor, x: Tensor, section: QuantizedSection, shape: LinearShape, invariant: bool = False
) -> None:
    """Multiply in tiles of `shape`; if `invariant`, with splits that do not depend on the number of rows."""
    rows, columns = x.shape
    m_blocks, n_blocks = triton.cdiv(rows, shape.rows), triton.cdiv(section.rows, shape.outs)
    steps = triton.cdiv(columns, shape.columns)
    per_split = _steps_per_split(arch, steps, n_blocks * (1 if invariant else m_blocks), shape.blocks)
    splits = triton.cdiv(steps, per_split)
    partials = torch.empty(splits if splits > 1 else 0, rows, section.rows, device=x.device)
    counters = section.counters
    if splits > 1 and m_blocks * n_blocks > len(counters):
        counters = torch.zeros(m_blocks * n_blocks, dtype=torch.int32, device=x.device)
    format = section.format
    _quantized_linear[m_blocks, n_blocks, splits](
        y, partials, counters, x, *section.words, rows, section.rows, columns, splits, per_split,
        x.stride(0), y.stride(0), format.bits, format.group, format.centre,
        *_constants(shape), columns % shape.columns == 0, _has_ptx(arch),
        num_warps=shape.warps, num_stages=shape.stages,
    )  # fmt: skip


def _steps_per_split(arch: Arch, steps: int, blocks: int, wanted: int) -> int:
    """Turns of the loop in a split, so that there are `wanted` blocks per processor, where the columns suffice."""
    splits = max(1, min(wanted * arch.processors // blocks, steps // _FEWEST_STEPS))
    return int(triton.cdiv(steps, splits))


def _multiply_decoded(y: Tensor, x: Tensor, section: QuantizedSection) -> None:
    columns = x.shape[1]
    at_once = max(1, _DECODED_BYTES // (columns * x.itemsize))
    for start in range(0, section.rows, at_once):
        ids = torch.arange(start, min(start + at_once, section.rows), device=x.device)
        matrix = torch.empty(len(ids), columns, dtype=x.dtype, device=x.device)
        decode_rows(matrix, ids, section, 0)
        torch.mm(x, matrix.t(), out=y[:, start : start + len(ids)])


def _multiply_invariant(arch: Arch, y: Tensor, x: Tensor, matrix: Tensor) -> None:
    shape = _invariant_shape(arch)
    grid = (triton.cdiv(len(x), shape.rows), triton.cdiv(len(matrix), shape.outs))
    _dense_linear[grid](
        y, x, matrix, len(x), *matrix.shape, x.stride(0), y.stride(0), shape.rows, shape.outs, shape.columns,
        num_warps=shape.warps, num_stages=shape.stages,
    )  # fmt: skip


def linear_variants(arch: Arch) -> Iterator[Variant]:
    """Every binary that `linear` launches in 16 bits for sizes that are multiples of 16, but for those of `embed`."""
    for dtype in (torch.float16, torch.bfloat16):
        tensor = pointer_to(dtype)
        for format in code_formats():
            for block_m in _shapes(arch):
                yield _quantized_variant(arch, tensor, format, _quantized_shape(arch, format, block_m))
        yield _invariant_variant(arch, tensor)


_SIZES = ("outs", "columns", "x_stride", "y_stride")


def _quantized_variant(arch: Arch, tensor: str, format: CodeFormat, shape: LinearShape) -> Variant:
    packed, constants = word_arguments(format)
    tensors = {"y": tensor, "partials": "*fp32", "counters": "*i32", "x": tensor} | packed
    signature = tensors | dict.fromkeys((*_SIZES, "rows", "splits", "steps_per_split"), "i32")
    names = ("BLOCK_M", "BLOCK_N", "STEP", "ROUNDED", "FLIPPED")
    constants |= dict(zip(names, _constants(shape), strict=True)) | {"WHOLE": True, "PTX": _has_ptx(arch)}
    name = f"linear {tensor[1:]} {code_name(format)} m{shape.rows}"
    return Variant(name, _quantized_linear, signature, constants, shape.warps, shape.stages, (*tensors, *_SIZES))


def _constants(shape: LinearShape) -> tuple[int, int, int, bool, bool]:
    """What the kernel is compiled for beside the format."""
    return shape.rows, shape.outs, shape.columns, bool(shape.rounded), bool(shape.flipped)


def _has_ptx(arch: Arch) -> bool:
    return arch.backend == "cuda"


def _invariant_variant(arch: Arch, tensor: str) -> Variant:
    shape = _invariant_shape(arch)
    signature = dict.fromkeys(("y", "x", "matrix"), tensor) | dict.fromkeys((*_SIZES, "rows"), "i32")
    constants: dict[str, object] = {"BLOCK_M": shape.rows, "BLOCK_N": shape.outs, "BLOCK_K": shape.columns}
    aligned = ("y", "x", "matrix", *_SIZES)
    return Variant(
        f"linear {tensor[1:]} invariant", _dense_linear, signature, constants, shape.warps, shape.stages, aligned
    )
