"""Memory for weights."""

from __future__ import annotations

import torch
from torch import Tensor

from ..huge_pages import reserve

_CHUNK_BYTES = 64 * 2**20
"""Large enough that nearly all weights of a small layer lie on whole huge pages; what is not used is not committed."""

_ALIGNMENT = 64
"""Cache line."""


class Arena:
    """Hands out memory that is freed when its last tensor goes."""

    def __init__(self) -> None:
        """Start without memory."""
        self._chunk = torch.empty(0, dtype=torch.uint8)

    def take(self, size: int) -> Tensor:
        """Return `[size]` uint8, zero and aligned to cache lines."""
        room = -(-size // _ALIGNMENT) * _ALIGNMENT
        if room > len(self._chunk):
            self._chunk = reserve(max(room, _CHUNK_BYTES))
        taken, self._chunk = self._chunk[:size], self._chunk[room:]
        return taken
