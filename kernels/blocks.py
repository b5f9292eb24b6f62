"""Block-quantised weights as GGUF files store them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .errors import MarcotError


class BlockFormatError(MarcotError):
    """The block format is unknown, or the package that decodes it is missing."""

    exit_code = 4


_ROWS_AT_ONCE = 4096
"""Rows that are rounded at a time: fp32 intermediates take a few dozen MB, even for an embedding of 150,000 rows."""


@dataclass(frozen=True, slots=True)
class BlockTensor:
    """A matrix whose rows consist of quantised blocks.

    Rows are independent, so slicing, permuting and stacking them never changes a block.

    Attributes:
        data: `[rows, bytes_per_row]` uint8, possibly a view of a memory-mapped file.
        format: GGML's name of the block format, such as `"Q4_K"` or `"Q8_0"`.
        columns: Values in a row after dequantisation.
    """

    data: Tensor
    format: str
    columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """`(rows, columns)` of the dequantised matrix."""
        return self.data.shape[0], self.columns

    @staticmethod
    def quantize(weight: Tensor, format: str) -> BlockTensor:
        """Round a dense matrix to blocks, each row by itself.

        Args:
            weight: `[rows, columns]`, in any float dtype.
            format: A block format that the `gguf` package can make, such as `"Q8_0"` or `"Q4_1"`.

        Raises:
            BlockFormatError: The `gguf` package is missing or cannot make the format, or a row does not fill blocks.
        """
        try:
            from gguf import GGMLQuantizationType
            from gguf.quants import quantize
        except ImportError as error:
            raise BlockFormatError(
                f"rounding weights to {format} blocks needs the gguf package: pip install gguf"
            ) from error
        rows, columns = weight.shape
        data = torch.empty(rows, row_bytes(format, columns), dtype=torch.uint8)
        kind = GGMLQuantizationType[format]
        for start in range(0, rows, _ROWS_AT_ONCE):
            piece = slice(start, start + _ROWS_AT_ONCE)
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # the scale is then not finite
                    blocks = quantize(weight[piece].float().numpy(), kind)
            except NotImplementedError as error:
                raise BlockFormatError(f"the gguf package cannot make {format} blocks") from error
            data[piece] = torch.from_numpy(blocks)
        return BlockTensor(data, format, columns)

    def dequantize(self, rows: slice | Tensor | None = None) -> Tensor:
        """Decode the blocks to `[rows, columns]` fp32.

        Args:
            rows: Decode these rows only: a slice or an int64 index.

        Raises:
            BlockFormatError: The `gguf` package is missing or does not know the format.
        """
        try:
            from gguf import GGMLQuantizationType
            from gguf.quants import dequantize
        except ImportError as error:
            raise BlockFormatError(
                f"weights in {self.format} blocks need the gguf package: pip install gguf"
            ) from error
        data = self.data if rows is None else self.data[rows]
        try:
            with np.errstate(all="ignore"):  # scales of any bits: non-finite values are found where they are used
                values = dequantize(data.numpy(), GGMLQuantizationType[self.format])
        except (KeyError, NotImplementedError) as error:
            raise BlockFormatError(
                f"the gguf package cannot decode {self.format} blocks; use a file in a common format such as Q4_K_M"
            ) from error
        return torch.from_numpy(values).reshape(-1, self.columns)


def row_bytes(format: str, columns: int) -> int:
    """Bytes of a row of `columns` values in blocks.

    Raises:
        BlockFormatError: The `gguf` package is missing or does not know the format, or a row does not fill blocks.
    """
    try:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    except ImportError as error:
        raise BlockFormatError(f"weights in {format} blocks need the gguf package: pip install gguf") from error
    try:
        values, bytes_of_values = GGML_QUANT_SIZES[GGMLQuantizationType[format]]
    except KeyError as error:
        raise BlockFormatError(f"the gguf package knows no {format} blocks") from error
    if columns % values:
        raise BlockFormatError(f"rows of {columns} values cannot be cut into {format} blocks of {values}")
    return columns // values * bytes_of_values


Weight = Tensor | BlockTensor
"""A stored matrix `[out_features, in_features]`: dense in any float dtype, or block-quantised."""
