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
from .code_variants import code_arguments, code_formats, code_name
from .embed import decode_rows
from .packed_linear import DenseSection, QuantizedSection, TritonLinear
from .variant import Variant, pointer_to
from .weight_tile import dense_tile, quantized_tile

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
    x,
    codes,
    scales,
    minimums,
    supers,
    super_minimums,
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
    FLIPPED: tl.constexpr,
):
    """One tile of the result, or the part of it that some steps of columns give."""
    lane = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    out = tl.minimum(lane, outs - 1)
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    first = tl.program_id(2) * steps_per_split * STEP
    acc = quantized_tile(
        codes, scales, minimums, supers, super_minimums, x, out, row, rows, outs, columns, x_stride,
        first, tl.minimum(first + steps_per_split * STEP, columns), BITS, GROUP, CENTRE, STEP, FLIPPED,
    )  # fmt: skip
    if FLIPPED:
        acc = tl.trans(acc)
    inside = (lane < outs)[:, None] & (row < rows)[None, :]
    if splits == 1:
        tl.store(y + row.to(tl.int64)[None, :] * y_stride + lane[:, None], acc.to(y.dtype.element_ty), inside)
    else:
        place = (tl.program_id(2) * rows + row).to(tl.int64)[None, :] * outs + lane[:, None]
        tl.store(partials + place, acc, inside)


@triton.jit(do_not_specialize=["rows", "splits"])
def _add_splits(y, partials, rows, outs, splits, y_stride, BLOCK: tl.constexpr):
    """Partial sums of one row, added in the order of the columns."""
    row = tl.program_id(0).to(tl.int64)
    lane = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float32)
    for split in range(splits):
        total += tl.load(partials + (split * rows + row) * outs + lane, lane < outs, 0.0)
    tl.store(y + row * y_stride + lane, total.to(y.dtype.element_ty), lane < outs)


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
    """What a kernel is compiled for.

    Attributes:
        rows: Rows of activations of a tile.
        outs: Rows of the weight of a tile.
        columns: Columns that one turn of the loop takes.
        warps: Warps of a thread block.
        stages: Depth of the software pipeline.
    """

    rows: int
    outs: int
    columns: int
    warps: int
    stages: int


class _Turn(NamedTuple):
    """Columns as in `LinearShape` where groups are of 32, and stages."""

    columns: int
    stages: int


# Read off the binaries (`make kernel-report`), by the rows of a tile: nothing spills and, but for the longest groups on
# sm_100, two thread blocks share a processor at least. There, every product takes tensor memory of its own, of which
# 32 rows would leave nothing for a second one.
_TURNS: Final[Mapping[str, Mapping[int, _Turn]]] = {
    "nvidia": {16: _Turn(128, 3), 32: _Turn(64, 3)},
    "sm_100": {16: _Turn(64, 3)},
    "cdna": {16: _Turn(64, 3), 32: _Turn(64, 3)},
    "rdna": {16: _Turn(64, 2), 32: _Turn(64, 2)},
}


def _turns(arch: Arch) -> Mapping[int, _Turn]:
    return _TURNS.get(arch.family, _TURNS["nvidia"])


def _quantized_shape(arch: Arch, format: CodeFormat, rows: int) -> LinearShape:
    """For `rows` rows of activations; more than a tile has take several, which read the weight side by side."""
    turns = _turns(arch)
    block_m = next((block for block in turns if block >= rows), max(turns))
    columns, stages = turns[block_m]
    return LinearShape(block_m, 128, max(format.group, min(columns, 4 * format.group)), 4, stages)


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
    rows, columns = x.shape
    if rows > _MOST_ROWS and not invariant:
        _multiply_decoded(y, x, section)
        return
    shape = _quantized_shape(arch, section.format, _INVARIANT_ROWS if invariant else rows)
    m_blocks, n_blocks = triton.cdiv(rows, shape.rows), triton.cdiv(section.rows, shape.outs)
    steps = triton.cdiv(columns, shape.columns)
    per_split = _steps_per_split(arch, steps, n_blocks * (1 if invariant else m_blocks))
    splits = triton.cdiv(steps, per_split)
    partials = torch.empty(splits if splits > 1 else 0, rows, section.rows, device=x.device)
    format = section.format
    _quantized_linear[m_blocks, n_blocks, splits](
        y, partials, x, *section.tensors, rows, section.rows, columns, splits, per_split, x.stride(0), y.stride(0),
        format.bits, format.group, format.centre, shape.rows, shape.outs, shape.columns, False,
        num_warps=shape.warps, num_stages=shape.stages,
    )  # fmt: skip
    if splits > 1:
        grid = (rows, triton.cdiv(section.rows, _ADDED))
        _add_splits[grid](y, partials, rows, section.rows, splits, y.stride(0), _ADDED, num_warps=4)


_ADDED = 512
"""Sums of a thread block that adds splits."""


def _steps_per_split(arch: Arch, steps: int, blocks: int) -> int:
    """Turns of the loop in a split, so that there are two thread blocks per processor, where the columns suffice."""
    splits = max(1, min(2 * arch.processors // blocks, steps // _FEWEST_STEPS))
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
            for block_m in _turns(arch):
                yield _quantized_variant(arch, tensor, format, block_m)
        yield _invariant_variant(arch, tensor)
        yield _add_variant(tensor)


_SIZES = ("outs", "columns", "x_stride", "y_stride")


def _quantized_variant(arch: Arch, tensor: str, format: CodeFormat, block_m: int) -> Variant:
    shape = _quantized_shape(arch, format, block_m)
    packed, constants = code_arguments(format)
    tensors = {"y": tensor, "partials": "*fp32", "x": tensor} | packed
    signature = tensors | dict.fromkeys((*_SIZES, "rows", "splits", "steps_per_split"), "i32")
    constants |= {"BLOCK_M": shape.rows, "BLOCK_N": shape.outs, "STEP": shape.columns, "FLIPPED": False}
    name = f"linear {tensor[1:]} {code_name(format)} m{block_m}"
    return Variant(name, _quantized_linear, signature, constants, shape.warps, shape.stages, (*tensors, *_SIZES))


def _invariant_variant(arch: Arch, tensor: str) -> Variant:
    shape = _invariant_shape(arch)
    signature = dict.fromkeys(("y", "x", "matrix"), tensor) | dict.fromkeys((*_SIZES, "rows"), "i32")
    constants: dict[str, object] = {"BLOCK_M": shape.rows, "BLOCK_N": shape.outs, "BLOCK_K": shape.columns}
    aligned = ("y", "x", "matrix", *_SIZES)
    return Variant(
        f"linear {tensor[1:]} invariant", _dense_linear, signature, constants, shape.warps, shape.stages, aligned
    )


def _add_variant(tensor: str) -> Variant:
    signature = {"y": tensor, "partials": "*fp32"} | dict.fromkeys(("rows", "outs", "splits", "y_stride"), "i32")
    aligned = ("y", "partials", "outs", "y_stride")
    return Variant(f"linear {tensor[1:]} splits", _add_splits, signature, {"BLOCK": _ADDED}, 4, 3, aligned)
