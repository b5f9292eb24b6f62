"""The storage formats of weights in memory."""

from __future__ import annotations

from typing import Literal

import torch

from ..kernels import BlockTensor, Weight
from ..kernels.blocks import BlockFormatError
from .parameters import EMBEDDING, LM_HEAD

WeightFormat = Literal["stored", "bf16", "int8", "int4"]
"""*stored*: as in the checkpoint. The others round its dense matrices to bfloat16, to 8-bit blocks (Q8_0) or to 4-bit
blocks (Q4_1; embedding and LM head, whose rounding costs the most, in 8 bits). Matrices that the checkpoint stores in
blocks stay as they are.
"""


def converted(weight: Weight, name: str, to: WeightFormat) -> Weight:
    """Return the matrix `weight` of the parameter `name` in the format `to`.

    Raises:
        BlockFormatError: Its rows do not fill blocks, or the `gguf` package is missing.
    """
    if to == "stored" or isinstance(weight, BlockTensor):
        return weight
    if to == "bf16":
        return weight.to(torch.bfloat16)
    eight_bits = to == "int8" or name in (EMBEDDING, LM_HEAD)
    try:
        return BlockTensor.quantize(weight, "Q8_0" if eight_bits else "Q4_1")
    except BlockFormatError as error:
        raise BlockFormatError(f"{name} cannot be rounded to {to}: {error}") from error
