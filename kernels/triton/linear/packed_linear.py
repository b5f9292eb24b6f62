"""Weights in the layout that the GPU kernels read.

Quantised codes are stored in strips: 16 words of 16 bits for each row of the weight, one row after the other. So the
bytes that a thread block needs at a time are contiguous, and a thread loads 16 of them at once. The codes of a word are
16 columns apart: the lowest bits of a strip's words hold 16 neighbouring columns, the bits above them the next 16. Such
a *plane* is extracted by a shift and a mask, and its 16 columns are what one tensor core instruction takes. A word is
as wide as the numbers that its codes are converted to, so these are already where the tensor core needs them.

The scales and minimums of 64 columns, or of a group if that is longer, form one word for each row of the weight,
`[words, rows]`: the scale of the first group, its minimum, the scale of the second, and so on. A thread gets all it
needs in one load, and values that must move between threads move once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from ...blocks import BlockTensor, Weight
from ...finite import check_finite
from ...layer_weights import Compute
from .block_codes import FORMATS, SUPER, CodeFormat, Codes, codes_of

_ROWS_AT_ONCE = 4096
"""Rows that are unpacked at a time, so that loading needs little memory besides the weight."""


@dataclass(frozen=True, slots=True)
class DenseSection:
    """Rows of a weight as a dense matrix.

    Attributes:
        matrix: `[rows, columns]` in the compute dtype.
        fast: Whether activations are rounded to int8 and back before they are multiplied.
    """

    matrix: Tensor
    fast: bool

    @property
    def rows(self) -> int:
        """Rows of the weight in this section."""
        return self.matrix.shape[0]

    @property
    def nbytes(self) -> int:
        """Memory of the section, in bytes."""
        return self.matrix.nbytes


@dataclass(frozen=True, slots=True)
class QuantizedSection:
    """Rows of a weight as integer codes.

    Attributes:
        format: What the codes stand for.
        codes: `[strips, rows, 16]` int16, whose bits are those of unsigned words.
        factors: `[columns / chunk, rows]` words of scales and minimums, each fp16, or int8 where nested.
        supers: `[columns / 256, rows]` words of fp16 factors of nested scales and minimums, or None.
        counters: `[rows / 16]` int32, which kernels use for counting; zero before and after each launch.
        fast: Whether activations are rounded to int8 and back before they are multiplied.
    """

    format: CodeFormat
    codes: Tensor
    factors: Tensor
    supers: Tensor | None
    counters: Tensor
    fast: bool

    @property
    def rows(self) -> int:
        """Rows of the weight in this section."""
        return self.codes.shape[1]

    @property
    def nbytes(self) -> int:
        """Memory of the section, in bytes."""
        return sum(0 if tensor is None else tensor.nbytes for tensor in self.words)

    @property
    def words(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Codes, factors and super factors, as the kernels take them."""
        return self.codes, self.factors, self.supers


Section = DenseSection | QuantizedSection


@dataclass(frozen=True, slots=True)
class TritonLinear:
    """A weight packed for the GPU kernels.

    Attributes:
        sections: Runs of rows of one kind, in the order of the rows.
        in_features: Columns of the weight.
        dtype: Dtype of the activations.
    """

    sections: tuple[Section, ...]
    in_features: int
    dtype: torch.dtype

    @property
    def out_features(self) -> int:
        """Rows of the weight."""
        return sum(section.rows for section in self.sections)

    @property
    def nbytes(self) -> int:
        """Memory of the packed weight, in bytes."""
        return sum(section.nbytes for section in self.sections)

    def placed(self) -> Iterator[tuple[int, Section]]:
        """Yield the index of each section's first row, and the section."""
        first = 0
        for section in self.sections:
            yield first, section
            first += section.rows


def pack(parts: Sequence[Weight], dtype: torch.dtype, device: torch.device, compute: Compute) -> TritonLinear:
    """Stack `parts`; consecutive parts of one kind become one section. See `Kernels.pack_linear`.

    Codes, their scales and minimums keep every bit of the file. Blocks of a format without a `CodeFormat` are decoded
    to `dtype`.
    """
    columns = parts[0].shape[1]
    sections: list[Section] = []
    for (format, fast), run in groupby(parts, lambda part: (_format(part), compute == "fast" and _is_blocks(part))):
        same = list(run)
        if format is None:
            sections.append(DenseSection(_dense(same, dtype, device), fast))
        else:
            sections.append(_quantized(same, format, columns, device, fast))
    return TritonLinear(tuple(sections), columns, dtype)


def _is_blocks(part: Weight) -> bool:
    return isinstance(part, BlockTensor)


def _format(part: Weight) -> CodeFormat | None:
    return FORMATS.get(part.format) if isinstance(part, BlockTensor) else None


def _pieces(parts: Sequence[Weight]) -> Iterator[tuple[Weight, slice, slice]]:
    """Yield each part a few rows at a time: the part, its rows, and the rows of the stack that they become."""
    filled = 0
    for part in parts:
        for start in range(0, part.shape[0], _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, part.shape[0])
            yield part, slice(start, stop), slice(filled, filled + stop - start)
            filled += stop - start


def _dense(parts: Sequence[Weight], dtype: torch.dtype, device: torch.device) -> Tensor:
    matrix = torch.empty(sum(part.shape[0] for part in parts), parts[0].shape[1], dtype=dtype, device=device)
    for part, source, target in _pieces(parts):
        values = part.dequantize(source) if isinstance(part, BlockTensor) else part[source]
        check_finite(matrix[target].copy_(values))
    return matrix


def _quantized(
    parts: Sequence[Weight], format: CodeFormat, columns: int, device: torch.device, fast: bool
) -> QuantizedSection:
    rows = sum(part.shape[0] for part in parts)
    section: QuantizedSection | None = None
    for part, source, target in _pieces(parts):
        assert isinstance(part, BlockTensor)
        codes = codes_of(part.data[source], part.format, columns)
        for values in codes[1:]:
            if values is not None:
                check_finite(values)
        piece = pack_codes(codes, format, fast)
        if section is None:
            section = _like(piece, rows, device)
        for to, values in zip(section.words, piece.words, strict=True):
            if to is not None and values is not None:
                to[:, target].copy_(values)
    assert section is not None
    return section


def _like(piece: QuantizedSection, rows: int, device: torch.device) -> QuantizedSection:
    """A section with the layout of `piece` and room for `rows` rows."""

    def room(x: Tensor) -> Tensor:
        return torch.empty(x.shape[0], rows, *x.shape[2:], dtype=x.dtype, device=device)

    supers = None if piece.supers is None else room(piece.supers)
    return QuantizedSection(
        piece.format, room(piece.codes), room(piece.factors), supers, _counters(rows, device), piece.fast
    )


def pack_codes(codes: Codes, format: CodeFormat, fast: bool = False) -> QuantizedSection:
    """Arrange the codes of a quantised matrix for the kernels, wherever the codes come from.

    Args:
        codes: Whole rows; the number of columns is a multiple of 32 and of the group.
        format: What the codes stand for.
        fast: See `QuantizedSection`.
    """
    rows, columns = codes.codes.shape
    assert columns % max(32, format.group) == 0
    assert not format.nested or columns % SUPER == 0
    assert format.has_minimums == (format.centre == 0)
    planes = 16 // format.bits
    padded = torch.nn.functional.pad(codes.codes, (0, -columns % (16 * planes)))
    shifts = torch.arange(0, 16, format.bits, dtype=torch.int32)[:, None]
    words = (padded.view(rows, -1, planes, 16).to(torch.int32) << shifts).sum(dim=2).to(torch.int16)
    by_strip = words.transpose(0, 1).contiguous()
    factors = _words((codes.scales, codes.minimums), format.chunk // format.group, format.word)
    supers = _words((codes.supers, codes.super_minimums), 1, format.super_word) if format.nested else None
    assert by_strip.numel() < 1 << 31, "kernels count words in 32 bits"
    return QuantizedSection(format, by_strip, factors, supers, _counters(rows, codes.codes.device), fast)


def _counters(rows: int, device: torch.device) -> Tensor:
    return torch.zeros(-(-rows // 16), dtype=torch.int32, device=device)


def _words(kinds: Sequence[Tensor | None], groups: int, word: torch.dtype) -> Tensor:
    """Pack a table `[rows, all groups]` per kind into `[words, rows]`: a word holds `groups` groups of all kinds."""
    numbers = torch.stack([kind for kind in kinds if kind is not None], dim=2)
    padded = torch.nn.functional.pad(numbers, (0, 0, 0, -numbers.shape[1] % groups))
    return padded.reshape(len(padded), -1, groups * padded.shape[2]).contiguous().view(word)[..., 0].t().contiguous()
