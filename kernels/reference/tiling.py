"""How plans are to be cut, of which the specification has no need."""

from __future__ import annotations


def tiling(heads: int, kv_heads: int) -> None:
    """Read plans item by item. See `Kernels.tiling`."""
