"""All layers of a decoder in one call of the library."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..ops import LayerWeights, PackedLinear
from ..plan import Plan
from .library import Library
from .packed_linear import CpuLinear


class CpuFusedLayers:
    """See `FusedLayers`."""

    def __init__(self, library: Library, layers: Sequence[LayerWeights], eps: float, head_dim: int) -> None:
        """Write down where the weights of `layers` lie; they stay where they are."""
        self._library = library
        self._layers = list(layers)  # keeps the memory that the table points to
        self._eps = eps
        self._head_dim = head_dim
        self._table = torch.tensor([_row(layer) for layer in layers], dtype=torch.int64)
        self._qkv_rows = layers[0].qkv.out_features
        self._width = layers[0].down.in_features

    def __call__(
        self, x: Tensor, cos: Tensor, sin: Tensor, slots: Tensor, k_cache: Tensor, v_cache: Tensor, plan: Plan
    ) -> tuple[Tensor, Tensor]:
        """Run every layer. See `FusedLayers.__call__`."""
        rows, hidden = x.shape
        _, _, kv_heads, page_size, head_dim = k_cache.shape
        group = self._qkv_rows // head_dim // kv_heads - 2
        assert page_size == 16, "a page of K is one panel of the micro-kernel"
        assert x.dtype == cos.dtype == k_cache.dtype == torch.float32
        residual, output = torch.empty_like(x), torch.empty_like(x)
        self._library.call(
            "run_layers",
            *(self._table, len(self._layers), rows, hidden, self._width),
            *(kv_heads, group, head_dim, page_size, self._eps, self._head_dim**-0.5),
            *(cos.contiguous(), sin.contiguous(), slots),
            *(k_cache, v_cache, k_cache.stride(0)),
            *(plan.positions, plan.items, len(plan.items), plan.pages),
            *(x.contiguous(), residual, output, torch.get_num_threads()),
        )
        return output, residual


def _row(layer: LayerWeights) -> list[int]:
    """The fields of `Layer` in `src/layers.h`."""
    bias = 0 if layer.qkv_bias is None else layer.qkv_bias.data_ptr()
    row = [layer.input_norm.data_ptr(), bias, layer.post_attention_norm.data_ptr()]
    for weight in (layer.qkv, layer.attention_output, layer.gate_up, layer.down):
        row += _weight(weight)
    return row


def _weight(weight: PackedLinear) -> list[int]:
    assert isinstance(weight, CpuLinear)
    data, sections, count, columns = weight.arguments()
    return [data.data_ptr(), sections.data_ptr(), count, columns]
