"""The fused stack of layers, which the specification does not need."""

from __future__ import annotations

from collections.abc import Sequence

from ..layer_weights import LayerWeights


def fuse(layers: Sequence[LayerWeights], eps: float, head_dim: int) -> None:
    """Return None: the ops are called one by one. See `Kernels.fuse`."""
