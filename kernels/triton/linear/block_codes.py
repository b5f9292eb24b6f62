"""Unpacks the blocks of GGUF formats into integer codes and their scales, bit by bit and without rounding.

The layouts are those of llama.cpp's `ggml-common.h`, which the `gguf` package decodes to floats in `quants.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

SUPER = 256
"""Columns that share the fp16 super factors in the K formats."""


class CodeFormat(NamedTuple):
    """How a value follows from its code: `scale * (code - centre)`, plus the group's minimum if there are minimums.

    Attributes:
        bits: Bits of a code in the packed weight, 4 or 8; codes are unsigned.
        group: Columns that share a scale, and a minimum.
        centre: What is subtracted from every code; 0 if and only if there are minimums.
        has_minimums: Whether groups have minimums.
        nested: Whether scales and minimums are themselves codes, to be multiplied by an fp16 number for each `SUPER`
            columns.
    """

    bits: int
    group: int
    centre: int
    has_minimums: bool
    nested: bool

    @property
    def chunk(self) -> int:
        """Number of columns whose scales and minimums share a word of the packed weight."""
        return max(64, self.group)

    @property
    def word(self) -> torch.dtype:
        """Integer dtype that holds a chunk's scales and minimums, which are fp16, or bytes if nested."""
        numbers = self.chunk // self.group * (1 + self.has_minimums)
        return _INTEGERS[numbers * (1 if self.nested else 2)]

    @property
    def super_word(self) -> torch.dtype:
        """Integer dtype that holds the fp16 super factors of `SUPER` columns if nested."""
        return _INTEGERS[2 * (1 + self.has_minimums)]


_INTEGERS: Final = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integer dtypes by their size in bytes."""


class Codes(NamedTuple):
    """Rows of a quantised matrix.

    Attributes:
        codes: `[rows, columns]` uint8.
        scales: `[rows, columns / group]`, fp16, or int8 if nested.
        minimums: Same shape and dtype, or None. Nested minimums are subtracted, others are added.
        supers: `[rows, columns / SUPER]` fp16, factors of nested scales, or None.
        super_minimums: Same for nested minimums, or None.
    """

    codes: Tensor
    scales: Tensor
    minimums: Tensor | None
    supers: Tensor | None
    super_minimums: Tensor | None


def codes_of(data: Tensor, format: str, columns: int) -> Codes:
    """Unpack blocks into codes and scales.

    Args:
        data: `[rows, bytes_per_row]` uint8.
        format: A key of `FORMATS`.
        columns: Values in a row.
    """
    block = _SPLIT[format]
    blocks = data.reshape(-1, block.bytes)
    parts = (None if part is None else part.reshape(len(data), -1) for part in block.split(blocks))
    codes = Codes(*parts)  # type: ignore[arg-type]  # the first two are never None
    assert codes.codes.shape[1] == columns
    return codes


class _Block(NamedTuple):
    """The size of a block, and a function that splits `[blocks, bytes]`."""

    bytes: int
    split: Callable[[Tensor], tuple[Tensor | None, ...]]


def _halves(data: Tensor) -> Tensor:
    """Pairs of bytes as fp16."""
    return data.contiguous().view(torch.float16)


def _bits(data: Tensor, bits: int) -> Tensor:
    """`[blocks, bytes]` to `[blocks, 8 / bits, bytes]`: lowest bits of all bytes first."""
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8)[:, None]
    return data[:, None] >> shifts & ((1 << bits) - 1)


def _flags(data: Tensor) -> Tensor:
    """`[blocks, bytes]` to `[blocks, 8 * bytes]`: the bits of the first byte first."""
    return _bits(data, 1).transpose(1, 2).flatten(1)


def _q4_0(b: Tensor) -> tuple[Tensor | None, ...]:
    return _bits(b[:, 2:], 4), _halves(b[:, :2]), None, None, None


def _q4_1(b: Tensor) -> tuple[Tensor | None, ...]:
    return _bits(b[:, 4:], 4), _halves(b[:, :2]), _halves(b[:, 2:4]), None, None


def _q5_0(b: Tensor) -> tuple[Tensor | None, ...]:
    codes = _bits(b[:, 6:], 4).flatten(1) | _flags(b[:, 2:6]) << 4
    return codes + (128 - 16), _halves(b[:, :2]), None, None, None


def _q5_1(b: Tensor) -> tuple[Tensor | None, ...]:
    codes = _bits(b[:, 8:], 4).flatten(1) | _flags(b[:, 4:8]) << 4
    return codes, _halves(b[:, :2]), _halves(b[:, 2:4]), None, None


def _q8_0(b: Tensor) -> tuple[Tensor | None, ...]:
    return b[:, 2:] ^ 128, _halves(b[:, :2]), None, None, None


def _q4_k(b: Tensor) -> tuple[Tensor | None, ...]:
    scales, minimums = _six_bits(b[:, 4:16])
    return _bits(b[:, 16:].reshape(-1, 32), 4), scales, minimums, _halves(b[:, :2]), _halves(b[:, 2:4])


def _q5_k(b: Tensor) -> tuple[Tensor | None, ...]:
    scales, minimums = _six_bits(b[:, 4:16])
    low = _bits(b[:, 48:].reshape(-1, 32), 4).reshape(-1, 8, 32)
    codes = low | _bits(b[:, 16:48], 1) << 4
    return codes, scales, minimums, _halves(b[:, :2]), _halves(b[:, 2:4])


def _q6_k(b: Tensor) -> tuple[Tensor | None, ...]:
    low = _bits(b[:, :128].reshape(-1, 64), 4).reshape(-1, 8, 32)
    high = _bits(b[:, 128:192].reshape(-1, 32), 2).reshape(-1, 8, 32)
    scales = b[:, 192:208].view(torch.int8)
    return (low | high << 4) + (128 - 32), scales, None, _halves(b[:, 208:]), None


def _six_bits(data: Tensor) -> tuple[Tensor, Tensor]:
    """The 8 scales and 8 minimums, of 6 bits each, in 12 bytes.

    Four of each are in the low bits of the first eight bytes. The others have their low bits in the last four bytes and
    their high bits in the first eight.
    """
    scale, minimum, rest = data.reshape(-1, 3, 4).unbind(1)
    scales = torch.cat((scale & 63, rest & 15 | scale >> 2 & 48), dim=1)
    minimums = torch.cat((minimum & 63, rest >> 4 | minimum >> 2 & 48), dim=1)
    return scales.to(torch.int8), minimums.to(torch.int8)


FORMATS: Final = {
    "Q4_0": CodeFormat(4, 32, 8, has_minimums=False, nested=False),
    "Q4_1": CodeFormat(4, 32, 0, has_minimums=True, nested=False),
    "Q5_0": CodeFormat(8, 32, 128, has_minimums=False, nested=False),
    "Q5_1": CodeFormat(8, 32, 0, has_minimums=True, nested=False),
    "Q8_0": CodeFormat(8, 32, 128, has_minimums=False, nested=False),
    "Q4_K": CodeFormat(4, 32, 0, has_minimums=True, nested=True),
    "Q5_K": CodeFormat(8, 32, 0, has_minimums=True, nested=True),
    "Q6_K": CodeFormat(8, 16, 128, has_minimums=False, nested=True),
}
"""The code format for each block format: codes of five and six bits take eight, signed codes are shifted by 128."""

_SPLIT: Final = {
    "Q4_0": _Block(18, _q4_0),
    "Q4_1": _Block(20, _q4_1),
    "Q5_0": _Block(22, _q5_0),
    "Q5_1": _Block(24, _q5_1),
    "Q8_0": _Block(34, _q8_0),
    "Q4_K": _Block(144, _q4_k),
    "Q5_K": _Block(176, _q5_k),
    "Q6_K": _Block(210, _q6_k),
}
