"""Packs weights into the layout that `src/weights/format.h` describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import torch
from torch import Tensor

from ..blocks import BlockTensor, Weight
from ..errors import KernelArgumentError, NonFiniteError
from ..layer_weights import Compute
from .arena import Arena
from .library import Library

_ALIGNMENT = 64
"""Size of a cache line, in bytes; every section starts on one."""

_ROWS_AT_ONCE = 4096
"""Rows packed at a time, so that decoding an unsupported format needs little memory; a multiple of a panel's 16."""


class _Format(IntEnum):
    """Storage formats, numbered like `Format` in `src/weights/format.h`."""

    F32 = 0
    BF16 = 1
    F16 = 2
    Q4_0 = 3
    Q4_1 = 4
    Q5_0 = 5
    Q5_1 = 6
    Q8_0 = 7
    Q4_K = 8
    Q5_K = 9
    Q6_K = 10


_DENSE = {torch.float32: _Format.F32, torch.bfloat16: _Format.BF16, torch.float16: _Format.F16}


_BLOCKS: Final = {
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
}
"""Columns and bytes of a block of each format, as `read_block` in `src/weights/pack.h` reads it."""


@dataclass(frozen=True, slots=True)
class CpuLinear:
    """A weight packed for the CPU kernels.

    Attributes:
        data: The panels of all sections, uint8, aligned to cache lines.
        sections: `[sections, 4]` int64: format, rows, offset in bytes, whether activations are int8.
        out_features: Rows of the weight.
        in_features: Columns of the weight.
    """

    data: Tensor
    sections: Tensor
    out_features: int
    in_features: int

    @property
    def nbytes(self) -> int:
        """Memory of the packed weight, in bytes."""
        return self.data.nbytes

    def arguments(self) -> tuple[Tensor, Tensor, int, int]:
        """Return the library's arguments for this weight: data, sections, section count, columns."""
        return self.data, self.sections, self.sections.shape[0], self.in_features


def pack(library: Library, arena: Arena, parts: Sequence[Weight], compute: Compute, threads: int) -> CpuLinear:
    """Pack `parts`, stacked along their rows, into memory from `arena`. Unsupported formats are converted to fp32.

    Raises:
        KernelArgumentError: `parts` is empty, or not all parts are CPU matrices of the same width.
        NonFiniteError: A value is infinite or NaN.
    """
    columns = _columns(parts)
    sections: list[tuple[int, int, int, int]] = []
    size = 0
    for part in parts:
        format = _format(library, part)
        fast = compute == "fast" and isinstance(part, BlockTensor) and format > _Format.F16
        sections.append((format, part.shape[0], size, fast))
        size += -(-library.call("packed_bytes", format, part.shape[0], columns) // _ALIGNMENT) * _ALIGNMENT
    data = arena.take(size)
    for part, (number, rows, offset, _) in zip(parts, sections, strict=True):
        format = _Format(number)
        for start in range(0, rows, _ROWS_AT_ONCE):
            piece = slice(start, min(start + _ROWS_AT_ONCE, rows))
            source = _rows(part, piece, format)
            stride = source.stride(0) * source.itemsize
            done = library.call("packed_bytes", format, start, columns)
            count = piece.stop - start
            if not library.call("pack", format, source, stride, count, columns, data[offset + done :], threads):
                raise NonFiniteError("a weight is infinite or NaN")
    rows_in_all = sum(part.shape[0] for part in parts)
    return CpuLinear(data, torch.tensor(sections, dtype=torch.int64), rows_in_all, columns)


def _columns(parts: Sequence[Weight]) -> int:
    """Return the number of columns, after checking that all parts share it and that their data matches their shapes."""
    for number, part in enumerate(parts):
        data = part.data if isinstance(part, BlockTensor) else part
        if data.dim() != 2 or not data.is_cpu or not 0 < part.shape[1] == parts[0].shape[1]:
            shape, place = list(data.shape), data.device
            raise KernelArgumentError(
                f"pack_linear: part {number} is {shape} on {place}: not a matrix as wide as the others"
            )
        if isinstance(part, BlockTensor) and part.format in _BLOCKS:
            values, size = _BLOCKS[part.format]
            if data.dtype != torch.uint8 or data.shape[1] * values != part.columns * size:
                raise KernelArgumentError(
                    f"pack_linear: part {number} has rows of {data.shape[1]} {data.dtype}, which are not "
                    f"{part.columns} columns in {part.format}"
                )
    if not parts:
        raise KernelArgumentError("pack_linear: there is nothing to pack")
    return parts[0].shape[1]


def _format(library: Library, part: Weight) -> _Format:
    """Return the format to pack `part` in: its present one if the library supports it, otherwise fp32."""
    if isinstance(part, Tensor):
        return _DENSE.get(part.dtype, _Format.F32)
    known = _Format.__members__.get(part.format, _Format.F32)
    return known if library.call("packed_bytes", known, 1, part.columns) >= 0 else _Format.F32


def _rows(part: Weight, piece: slice, format: _Format) -> Tensor:
    """Return the given rows of `part`, in `format`, with no gaps within a row."""
    if isinstance(part, Tensor):
        rows = part[piece] if part.dtype in _DENSE else part[piece].float()
    elif part.format == format.name:
        rows = part.data[piece]
    else:
        rows = part.dequantize(piece)
    return rows if rows.stride(1) == 1 else rows.contiguous()
