"""The memory behind the KV tree."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..kernels import PAGE_SIZE, KVScales
from .config import ModelConfig


class KVCache:
    """Pages of K and V for every layer.

    Attributes:
        k: `[layers, pages, kv_heads, PAGE_SIZE, head_dim]`, uninitialised.
        v: Same shape.
        scales: The scales of each layer's fp8 pages, or None.
    """

    def __init__(
        self,
        config: ModelConfig,
        pages: int,
        dtype: torch.dtype,
        device: torch.device,
        scales: Sequence[KVScales] | None = None,
    ) -> None:
        """Reserve `pages` pages; on the CPU, the system allocates their memory when they are first written.

        Args:
            config: The model's shape.
            pages: Number of pages.
            dtype: Dtype of the values: `Kernels.fp8_dtype` with scales, else the dtype of the activations.
            device: Device of the pages.
            scales: One for each layer; they must not change while the cache is in use.
        """
        assert scales is None or len(scales) == config.num_layers
        shape = (config.num_layers, pages, config.num_kv_heads, PAGE_SIZE, config.head_dim)
        self.k = torch.empty(shape, dtype=dtype, device=device)
        self.v = torch.empty(shape, dtype=dtype, device=device)
        self.scales = scales

    @property
    def nbytes(self) -> int:
        """Memory of all pages, in bytes."""
        return self.k.nbytes + self.v.nbytes

    @staticmethod
    def token_bytes(config: ModelConfig, dtype: torch.dtype) -> int:
        """Bytes of K and V that one token takes over all layers."""
        return 2 * config.num_layers * config.num_kv_heads * config.head_dim * dtype.itemsize
