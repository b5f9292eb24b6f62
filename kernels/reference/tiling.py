"""The tiling of plans, which the specification does not need."""

from __future__ import annotations


def tiling(heads: int, kv_heads: int) -> None:
    """Return None: plans are read item by item. See `Kernels.tiling`."""
