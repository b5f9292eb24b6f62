"""Linear layers.

Dense weights are multiplied by cuBLAS or, if a row's result must not depend on the number of rows, by a kernel of ours
with fixed tiles. Quantised weights have a kernel of ours for few rows. With many rows, reading the weight is no longer
the bottleneck: there, quantised weights are decoded, a part at a time, and multiplied by cuBLAS as well.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...reference.quantize import round_trip
from ..arch import Arch
from ..variant import Variant, pointer_to
from .block_codes import CodeFormat
from .code_variants import code_formats, code_name, word_arguments
from .embed import decode_rows
from .packed_linear import DenseSection, QuantizedSection, TritonLinear
from .weight_tile import dense_tile, exact_tiles, rounded_tile

_MOST_ROWS = 256
"""With more rows than this, weights are decoded first: that moves 36 bits per 4-bit code instead of 4, but only once
for all rows, and leaves the products to kernels that reach the peak of the tensor cores."""

_INVARIANT_ROWS = 32
"""Rows of a tile if results must not depend on the number of rows."""

_DECODED_BYTES = 1 << 26
"""Memory, in bytes, for the part of a weight that is decoded at a time."""

_NESTED_REGISTERS = 16
"""Registers that nested formats get in addition to a shape's `registers`: they have twice as many words to hold."""

_MOST_REGISTERS = 240
"""Registers per thread if nothing else limits them: 255, less what `_NESTED_REGISTERS` adds."""

_FEWEST_CHUNKS = 4
"""Minimum number of chunks of columns per split."""


@triton.jit(do_not_specialize=["rows", "splits", "chunks_per_split"])
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
    chunks_per_split,
    x_stride,
    y_stride,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    CENTRE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    ROUNDED: tl.constexpr,
    TILES: tl.constexpr,
    WHOLE: tl.constexpr,
    PTX: tl.constexpr,
):
    """Compute some tiles of the result, or the part of their sums that comes from one split of the columns.

    With several splits, the thread block that finishes last adds up all parts.
    """
    first_lane = tl.program_id(1) * (BLOCK_N * TILES)
    lane = first_lane + tl.arange(0, BLOCK_N)
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    split = tl.program_id(2)
    size = chunks_per_split * (GROUP if GROUP > 64 else 64)
    first = split * size
    last = tl.minimum(first + size, columns)
    if ROUNDED:
        results = (rounded_tile(
            codes, factors, supers, x, tl.minimum(lane, outs - 1), row, rows, outs, columns, x_stride, first, last,
            BITS, GROUP, CENTRE, WHOLE, PTX,
        ),)  # fmt: skip
    else:
        results = exact_tiles(
            codes, factors, supers, x, lane, row, rows, outs, columns, x_stride, first, last,
            BITS, GROUP, CENTRE, False, TILES, WHOLE, PTX,
        )  # fmt: skip
    if splits == 1:
        for tile in tl.static_range(TILES):
            _store(y, results[tile], row, lane + tile * BLOCK_N, rows, outs, y_stride)
    else:
        table = rows.to(tl.int64) * outs
        for tile in tl.static_range(TILES):
            _store(partials + split * table, results[tile], row, lane + tile * BLOCK_N, rows, outs, outs)
        counter = counters + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
        tl.debug_barrier()  # until all threads have stored
        if tl.atomic_add(counter, 1) == splits - 1:
            lanes = first_lane + tl.arange(0, BLOCK_N * TILES)
            for eight in range(BLOCK_M // 8):  # all rows at once would take too many registers
                some = tl.program_id(0) * BLOCK_M + eight * 8 + tl.arange(0, 8)
                inside = (lanes < outs)[:, None] & (some < rows)[None, :]
                part = partials + some.to(tl.int64)[None, :] * outs + lanes[:, None]
                total = tl.zeros([BLOCK_N * TILES, 8], tl.float32)
                for number in range(splits):
                    total += tl.load(part + number * table, inside, 0.0, cache_modifier=".cg")
                _store(y, total, some, lanes, rows, outs, y_stride)
            tl.store(counter, 0)


@triton.jit
def _store(y, values, row, lane, rows, outs, stride):
    """Store `values`, `[lane, row]`, for lanes and rows that exist."""
    inside = (lane < outs)[:, None] & (row < rows)[None, :]
    tl.store(y + row.to(tl.int64)[None, :] * stride + lane[:, None], values.to(y.dtype.element_ty), inside)


@triton.jit(do_not_specialize=["rows"])
def _dense_linear(
    y, x, matrix, rows, outs, columns, x_stride, y_stride,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute one tile of the result; every sum adds its columns in the same order."""
    lane = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    acc = dense_tile(matrix, x, tl.minimum(lane, outs - 1), row, rows, columns, x_stride, BLOCK_K)
    inside = (row < rows)[:, None] & (lane < outs)[None, :]
    tl.store(y + row.to(tl.int64)[:, None] * y_stride + lane[None, :], acc.to(y.dtype.element_ty), inside)


class LinearShape(NamedTuple):
    """The launch shape that a kernel is compiled for, and the number of blocks that it is launched in.

    Attributes:
        rows: Rows of activations per tile.
        outs: Rows of the weight per tile.
        warps: Warps of a thread block.
        stages: Depth of the software pipeline.
        rounded: Whether weights are rounded to the dtype of the activations before they are multiplied.
        tiles: Tiles per thread block, which share the loaded activations; 1 if `rounded`.
        blocks: Thread blocks per processor to reach by splitting the columns; not more than run at once.
        registers: Maximum registers per thread on NVIDIA's cards, or 0 to leave it to the assembler, whose own limits
            for small thread blocks are so low that it spills.
    """

    rows: int
    outs: int
    warps: int
    stages: int
    rounded: bool = False
    tiles: int = 1
    blocks: int = 2
    registers: int = 0


# By the rows of a tile. With few rows, a kernel is limited by instructions and by loads of the activations, not by
# loads of the codes. So several tiles share the activations, and all blocks run at once. Up to 16 rows, sums are scaled
# and weights are not rounded; with more rows, that takes more instructions than scaling each weight.
_NVIDIA: Final[Mapping[int, LinearShape]] = {
    8: LinearShape(8, 32, 2, 4, tiles=4, blocks=8, registers=128),
    16: LinearShape(16, 32, 2, 3, tiles=2, blocks=9),
    32: LinearShape(32, 128, 4, 3, rounded=True, blocks=5),
    64: LinearShape(64, 64, 4, 3, rounded=True, blocks=4),
    128: LinearShape(128, 128, 8, 3, rounded=True, blocks=2),
}

_ROOMIER: Final[Mapping[int, LinearShape]] = {**_NVIDIA, 8: _NVIDIA[8]._replace(blocks=6, registers=160)}

# By the name of an architecture, or its family. Measured on sm_90. Architectures on which its register limits cause
# spills (`make kernel-report`, with Triton 3.6 too) have higher limits.
_SHAPES: Final[Mapping[str, Mapping[int, LinearShape]]] = {
    "nvidia": _NVIDIA,
    "sm_86": _ROOMIER,
    "sm_89": _ROOMIER,
    "sm_100": {
        **_ROOMIER,
        16: _NVIDIA[16]._replace(blocks=8, registers=120),
        32: _NVIDIA[32]._replace(blocks=4, registers=_MOST_REGISTERS),
        64: _NVIDIA[64]._replace(registers=_MOST_REGISTERS),
    },
    "sm_120": {
        **_ROOMIER,
        16: _NVIDIA[16]._replace(registers=_MOST_REGISTERS),
        128: _NVIDIA[128]._replace(stages=2),
    },
    "cdna": {16: LinearShape(16, 128, 4, 3), 32: LinearShape(32, 128, 4, 3)},
    "rdna": {16: LinearShape(16, 128, 4, 2), 32: LinearShape(32, 128, 4, 2)},
}


def _shapes(arch: Arch) -> Mapping[int, LinearShape]:
    return _SHAPES.get(arch.name) or _SHAPES.get(arch.family, _NVIDIA)


@cache
def linear_shape(arch: Arch, format: CodeFormat, rows: int, outs: int) -> LinearShape:
    """The shape for `rows` rows of activations and a weight of `outs` rows.

    If there are more rows than a tile has, several tiles read the weight side by side. For small weights, each thread
    block takes a single tile, because there would be too few blocks otherwise. A tuning table has entries for both, by
    rows per tile and tiles per thread block.
    """
    shapes = _shapes(arch)
    shape = next((shape for block, shape in shapes.items() if block >= rows), shapes[max(shapes)])
    if shape.tiles > 1 and outs < 2 * arch.processors * shape.outs * shape.tiles:
        shape = shape._replace(tiles=1, blocks=_SMALL_BLOCKS, registers=_SMALL_REGISTERS)
    return arch.tuning.shape("linear", code_name(format), shape.rows, shape.tiles, shape)


_SMALL_BLOCKS, _SMALL_REGISTERS = 10, 96
"""`blocks` and `registers` of a `LinearShape` with a single tile per thread block."""


_INVARIANT_SHAPE: Final = LinearShape(_INVARIANT_ROWS, 64, 4, 3)
"""The shape of the batch-invariant kernel for dense weights."""

_INVARIANT_COLUMNS = 64
"""Columns per loop iteration of that kernel."""


def linear(arch: Arch, x: Tensor, weight: TritonLinear, invariant: bool = False) -> Tensor:
    """`y = x Wᵀ`. See `Kernels.linear`.

    Args:
        arch: GPU architecture, which decides the shapes of tiles.
        x: `[rows, in_features]`.
        weight: `[out_features, in_features]`.
        invariant: Whether to be batch-invariant: a row of the result has the same bits in any batch.
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
            _multiply_invariant(part, activations(x, section), section.matrix)
        else:
            torch.mm(activations(x, section), section.matrix.t(), out=part)
    return y


def activations(x: Tensor, section: DenseSection | QuantizedSection) -> Tensor:
    """`x` as `section` multiplies it: rounded to int8 and back if the section is `fast`."""
    return round_trip(x).to(x.dtype) if section.fast and len(x) else x


def _multiply_quantized(arch: Arch, y: Tensor, x: Tensor, section: QuantizedSection, invariant: bool) -> None:
    rows = len(x)
    if rows > _MOST_ROWS and not invariant:
        _multiply_decoded(y, x, section)
        return
    shape = linear_shape(arch, section.format, _INVARIANT_ROWS if invariant else rows, section.rows)
    launch_quantized(arch, y, x, section, shape, invariant)


def launch_quantized(
    arch: Arch, y: Tensor, x: Tensor, section: QuantizedSection, shape: LinearShape, invariant: bool = False
) -> None:
    """Multiply in tiles of `shape`; if `invariant`, with splits that do not depend on the number of rows."""
    format = section.format
    rows, columns = x.shape
    m_blocks, n_blocks = triton.cdiv(rows, shape.rows), triton.cdiv(section.rows, shape.outs * shape.tiles)
    chunks = triton.cdiv(columns, format.chunk)
    per_split = _chunks_per_split(arch, chunks, n_blocks * (1 if invariant else m_blocks), shape.blocks)
    splits = triton.cdiv(chunks, per_split)
    partials = torch.empty(splits if splits > 1 else 0, rows, section.rows, device=x.device)
    counters = section.counters
    if splits > 1 and m_blocks * n_blocks > len(counters):
        counters = torch.zeros(m_blocks * n_blocks, dtype=torch.int32, device=x.device)
    _quantized_linear[m_blocks, n_blocks, splits](
        y, partials, counters, x, *section.words, rows, section.rows, columns, splits, per_split,
        x.stride(0), y.stride(0), format.bits, format.group, format.centre,
        shape.rows, shape.outs, shape.rounded, shape.tiles, columns % format.chunk == 0, _has_ptx(arch),
        num_warps=shape.warps, num_stages=shape.stages, **_limits(arch, format, shape),
    )  # fmt: skip


def _limits(arch: Arch, format: CodeFormat, shape: LinearShape) -> dict[str, int]:
    """Options of a launch other than warps and stages."""
    if not shape.registers or not _has_ptx(arch):
        return {}
    return {"maxnreg": shape.registers + _NESTED_REGISTERS * format.nested}


def _chunks_per_split(arch: Arch, chunks: int, blocks: int, wanted: int) -> int:
    """Chunks of columns per split, so that there are `wanted` blocks per processor if there are enough columns."""
    splits = max(1, min(wanted * arch.processors // blocks, chunks // _FEWEST_CHUNKS))
    return int(triton.cdiv(chunks, splits))


def _has_ptx(arch: Arch) -> bool:
    return arch.backend == "cuda"


def _multiply_decoded(y: Tensor, x: Tensor, section: QuantizedSection) -> None:
    columns = x.shape[1]
    at_once = max(1, _DECODED_BYTES // (columns * x.itemsize))
    for start in range(0, section.rows, at_once):
        ids = torch.arange(start, min(start + at_once, section.rows), device=x.device)
        matrix = torch.empty(len(ids), columns, dtype=x.dtype, device=x.device)
        decode_rows(matrix, ids, section, 0)
        torch.mm(x, matrix.t(), out=y[:, start : start + len(ids)])


def _multiply_invariant(y: Tensor, x: Tensor, matrix: Tensor) -> None:
    shape = _INVARIANT_SHAPE
    grid = (triton.cdiv(len(x), shape.rows), triton.cdiv(len(matrix), shape.outs))
    _dense_linear[grid](
        y, x, matrix, len(x), *matrix.shape, x.stride(0), y.stride(0), shape.rows, shape.outs, _INVARIANT_COLUMNS,
        num_warps=shape.warps, num_stages=shape.stages,
    )  # fmt: skip


def linear_variants(arch: Arch) -> Iterator[Variant]:
    """Every binary that `linear` launches in 16 bits for sizes that are multiples of 128, except those of `embed`."""
    for dtype in (torch.float16, torch.bfloat16):
        tensor = pointer_to(dtype)
        for format in code_formats():
            for shape in _quantized_shapes(arch, format):
                yield _quantized_variant(arch, tensor, format, shape)
        yield _invariant_variant(tensor)


def _quantized_shapes(arch: Arch, format: CodeFormat) -> Iterator[LinearShape]:
    """Every shape that a kernel is compiled for, for small and for large weights."""
    for rows, shape in _shapes(arch).items():
        yield linear_shape(arch, format, rows, 1)
        if shape.tiles > 1:
            yield linear_shape(arch, format, rows, _LARGE)


_LARGE = 1 << 30
"""Number of outputs of a weight that counts as large on any card."""

_SIZES = ("outs", "columns", "x_stride", "y_stride")


def _quantized_variant(arch: Arch, tensor: str, format: CodeFormat, shape: LinearShape) -> Variant:
    packed, constants = word_arguments(format)
    tensors = {"y": tensor, "partials": "*fp32", "counters": "*i32", "x": tensor} | packed
    signature = tensors | dict.fromkeys((*_SIZES, "rows", "splits", "chunks_per_split"), "i32")
    constants |= {"BLOCK_M": shape.rows, "BLOCK_N": shape.outs, "ROUNDED": shape.rounded, "TILES": shape.tiles}
    constants |= {"WHOLE": True, "PTX": _has_ptx(arch)}
    tiles = f" x{shape.tiles}" if shape.tiles > 1 else ""
    name = f"linear {tensor[1:]} {code_name(format)} m{shape.rows}{tiles}"
    registers = _limits(arch, format, shape).get("maxnreg")
    return Variant(
        name, _quantized_linear, signature, constants, shape.warps, shape.stages, (*tensors, *_SIZES), registers
    )


def _invariant_variant(tensor: str) -> Variant:
    shape = _INVARIANT_SHAPE
    signature = dict.fromkeys(("y", "x", "matrix"), tensor) | dict.fromkeys((*_SIZES, "rows"), "i32")
    constants: dict[str, object] = {"BLOCK_M": shape.rows, "BLOCK_N": shape.outs, "BLOCK_K": _INVARIANT_COLUMNS}
    aligned = ("y", "x", "matrix", *_SIZES)
    return Variant(
        f"linear {tensor[1:]} invariant", _dense_linear, signature, constants, shape.warps, shape.stages, aligned
    )
