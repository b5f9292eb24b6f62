"""Finds the tensor of a checkpoint that has an infinity or a NaN."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ...kernels import BlockTensor, NonFiniteError, Weight
from ..checkpoint import Checkpoint
from ..weight_format import WeightFormat

_ROWS_AT_ONCE = 4096
"""How many rows are decoded at a time."""


def non_finite_tensor(
    checkpoint: Checkpoint, names: tuple[str, ...], dtype: torch.dtype, weights: WeightFormat
) -> NonFiniteError:
    """Make the error about a tensor that is not finite in its storage format: which one, in which row, what to do.

    Args:
        checkpoint: The checkpoint.
        names: Candidates, at least one; one of these tensors is not finite.
        dtype: Compute dtype of the activations.
        weights: Storage format of matrices.
    """
    for name in names:
        for row, values in _pieces(checkpoint.tensor(name)):
            bad = ~values.isfinite()
            if bad.any():
                first = row + int(bad.nonzero()[0, 0])
                return NonFiniteError(
                    f"{checkpoint.path}: tensor {name} has {_called(values[bad][0])} in row {first}: the checkpoint "
                    "is damaged, or was converted from a damaged one; download or convert it again"
                )
    kept = str(dtype).removeprefix("torch.") if weights == "stored" else f"{weights} weights"
    return NonFiniteError(
        f"{checkpoint.path}: tensor {' or '.join(names)} has numbers that are too large for {kept}: load it with "
        "--dtype float32 --weights stored"
    )


def _pieces(weight: Weight) -> Iterator[tuple[int, Tensor]]:
    """Decode the tensor in groups of rows: yield the index of the first row of each group, and the values."""
    for start in range(0, weight.shape[0], _ROWS_AT_ONCE):
        piece = slice(start, start + _ROWS_AT_ONCE)
        yield start, weight.dequantize(piece) if isinstance(weight, BlockTensor) else weight[piece]


def _called(number: Tensor) -> str:
    return "NaN" if number.isnan() else "an infinity"
