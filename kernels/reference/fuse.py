"""The stack of layers in one call, which the specification has no need of."""

from __future__ import annotations

from collections.abc import Sequence

from ..ops import LayerWeights


def fuse(layers: Sequence[LayerWeights], eps: float, head_dim: int) -> None:
    """Ask for the ops one by one. See `Kernels.fuse`."""
