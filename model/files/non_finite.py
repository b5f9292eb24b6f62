"""Which tensor of a checkpoint has a number that is infinite or NaN."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ...kernels import BlockTensor, NonFiniteError, Weight
from ..checkpoint import Checkpoint
from ..weight_format import WeightFormat

_ROWS_AT_ONCE = 4096
"""Rows that are decoded at a time."""


def non_finite_tensor(
    checkpoint: Checkpoint, names: tuple[str, ...], dtype: torch.dtype, weights: WeightFormat
) -> NonFiniteError:
    """The error that one of the tensors `names` is not finite as it is kept: says which, where, and what to do.

    Args:
        checkpoint: Whose tensors.
        names: At least one; one of them is to blame.
        dtype: Compute dtype of the activations.
        weights: What matrices are kept as.
    """
    for name in names:
        for row, values in _pieces(checkpoint.tensor(name)):
            bad = ~values.isfinite()
            if bad.any():
                first = row + int(bad.nonzero()[0, 0])
                return NonFiniteError(
                    f"{checkpoint.path}: tensor {name} holds {_called(values[bad][0])} in row {first}: the checkpoint "
                    "is damaged, or was converted from a damaged one; download or convert it again"
                )
    kept = str(dtype).removeprefix("torch.") if weights == "stored" else f"{weights} weights"
    return NonFiniteError(
        f"{checkpoint.path}: tensor {' or '.join(names)} has numbers that are too large for {kept}: load it in float32 "
        "(--dtype float32) with its weights as they are stored (--weights stored)"
    )


def _pieces(weight: Weight) -> Iterator[tuple[int, Tensor]]:
    """Values of some rows, after the number of the first of them."""
    for start in range(0, weight.shape[0], _ROWS_AT_ONCE):
        piece = slice(start, start + _ROWS_AT_ONCE)
        yield start, weight.dequantize(piece) if isinstance(weight, BlockTensor) else weight[piece]


def _called(number: Tensor) -> str:
    return "NaN" if number.isnan() else "an infinity"
