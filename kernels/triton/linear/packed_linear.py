"""Weights in the layout that the GPU kernels read.

Quantised codes lie in strips: 16 words of 16 bits of each row of the weight, side by side. So the bytes that a thread
block wants at a time are one run of memory, and a thread fetches 16 of them at once. The codes of a word are 16 columns
apart: the lowest bits of a strip's words are 16 neighbouring columns, the bits above them the next 16. Each such plane
is a tile of its own, found by a shift and a mask, and 16 columns are what one instruction of a tensor core takes. A
word has the width of the numbers that its codes become, so that these are where the tensor core wants them without
being moved.

Scales and minimums of 64 columns, or of a group if that is longer, are one word for each row of the weight, `[words,
rows]`: the scale of the first group, its minimum, the scale of the second. A thread gets all that it needs in one load,
and what has to move between threads does so once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from ...blocks import BlockTensor, Weight
from ...finite import check_finite
from ...ops import Compute
from .block_codes import FORMATS, SUPER, CodeFormat, Codes, codes_of

_ROWS_AT_ONCE = 4096
"""Rows that are taken apart at a time, so that loading needs little memory beside the weight."""


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
        counters: `[rows / 16]` int32 zeros, which kernels count in and leave zero.
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
        """Codes, factors and the factors of these, as the kernels take them."""
        return self.codes, self.factors, self.supers


Section = DenseSection | QuantizedSection


@dataclass(frozen=True, slots=True)
class TritonLinear:
    """A weight packed for the GPU kernels.

    Attributes:
        sections: Runs of rows of one kind, in the order of the rows.
        in_features: Columns of the weight.
        dtype: Of the activations.
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
        """Each section after the number of its first row."""
        first = 0
        for section in self.sections:
            yield first, section
            first += section.rows


def pack(parts: Sequence[Weight], dtype: torch.dtype, device: torch.device, compute: Compute) -> TritonLinear:
    """Stack `parts`, neighbours of one kind as one section. See `Kernels.pack_linear`.

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
    """Each part a few rows at a time, with where these go in the stack."""
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
    """Room for `rows` rows of the kind of `piece`."""

    def room(x: Tensor) -> Tensor:
        return torch.empty(x.shape[0], rows, *x.shape[2:], dtype=x.dtype, device=device)

    supers = None if piece.supers is None else room(piece.supers)
    return QuantizedSection(
        piece.format, room(piece.codes), room(piece.factors), supers, _counters(rows, device), piece.fast
    )


def pack_codes(codes: Codes, format: CodeFormat, fast: bool = False) -> QuantizedSection:
    """Order the codes of a matrix for the kernels, whoever quantised it.

    Args:
        codes: Whole rows; the number of columns is a multiple of 32 and of the group.
        format: What they stand for.
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
    """`[words, rows]` from tables `[rows, all groups]`, `groups` of which each word takes of every kind."""
    numbers = torch.stack([kind for kind in kinds if kind is not None], dim=2)
    padded = torch.nn.functional.pad(numbers, (0, 0, 0, -numbers.shape[1] % groups))
    return padded.reshape(len(padded), -1, groups * padded.shape[2]).contiguous().view(word)[..., 0].t().contiguous()
