"""Runs all layers of a decoder in one call of the library."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import KernelArgumentError
from ..layer_weights import HeadNorms, LayerWeights, PackedLinear
from ..plan import PAGE_SIZE, Plan
from .arguments import done, fp32, gqa_group, head_norms, int64, packed, planned, same, written
from .library import Library


class CpuFusedLayers:
    """All layers of a decoder as one op, see `FusedLayers`."""

    def __init__(self, library: Library, layers: Sequence[LayerWeights], eps: float, head_dim: int) -> None:
        """Build the table of pointers to the weights of `layers`, without copying them.

        Raises:
            KernelArgumentError: `layers` is empty, or shapes do not match.
        """
        if not layers or head_dim < 2 or head_dim % 2:
            raise KernelArgumentError(f"fuse: {len(layers)} layers with a head_dim of {head_dim}")
        self._library = library
        self._eps = eps
        self._head_dim = head_dim
        self._hidden, self._width = layers[0].qkv.in_features, layers[0].down.in_features
        heads = layers[0].attention_output.in_features // head_dim
        self._kv_heads = (layers[0].qkv.out_features // head_dim - heads) // 2
        self._group = gqa_group("fuse", heads, self._kv_heads)
        self._tables = 1 + max(layer.rope for layer in layers)
        self._layers = [self._checked(layer) for layer in layers]  # keeps the memory that the table points to
        self._table = torch.tensor([_row(layer) for layer in self._layers], dtype=torch.int64)

    def __call__(
        self, x: Tensor, cos: Tensor, sin: Tensor, slots: Tensor, k_cache: Tensor, v_cache: Tensor, plan: Plan
    ) -> tuple[Tensor, Tensor]:
        """Run every layer. See `FusedLayers.__call__`."""
        kv_heads, head_dim = self._kv_heads, self._head_dim
        x = fp32("layers: x", x, -1, self._hidden)
        rows = x.shape[0]
        cos = fp32("layers: cos", cos, self._tables, rows, head_dim // 2)
        sin = fp32("layers: sin", sin, self._tables, rows, head_dim // 2)
        slots = int64("layers: slots", slots, rows)
        k_cache = written("layers: k_cache", k_cache, len(self._layers), -1, kv_heads, PAGE_SIZE, head_dim)
        v_cache = written("layers: v_cache", v_cache, *k_cache.shape)
        residual, output = torch.empty_like(x), torch.empty_like(x)
        refusal = self._library.call(
            "run_layers",
            *(self._table, len(self._layers), rows, self._hidden, self._width),
            *(kv_heads, self._group, head_dim, PAGE_SIZE, k_cache.shape[1], self._eps, head_dim**-0.5),
            *(cos, sin, slots),
            *(k_cache, v_cache, k_cache.stride(0)),
            *planned(plan, rows),
            *(x, residual, output, torch.get_num_threads()),
        )
        done("layers", refusal)
        return output, residual

    def _checked(self, layer: LayerWeights) -> LayerWeights:
        """Return the layer after checking that its shapes match those of the first layer."""
        head_dim, hidden, width = self._head_dim, self._hidden, self._width
        heads = self._kv_heads * self._group
        qkv_width = (heads + 2 * self._kv_heads) * head_dim
        shapes = {
            "qkv": (layer.qkv, qkv_width, hidden),
            "attention_output": (layer.attention_output, hidden, heads * head_dim),
            "gate_up": (layer.gate_up, 2 * width, hidden),
            "down": (layer.down, hidden, width),
        }
        for name, (weight, rows, columns) in shapes.items():
            same(f"fuse: rows of {name}", packed(f"fuse: {name}", weight).out_features, rows)
            same(f"fuse: columns of {name}", weight.in_features, columns)
        parts = packed("fuse: gate_up", layer.gate_up).sections[:, 1].tolist()
        if parts != [width, width]:
            raise KernelArgumentError(f"fuse: gate_up must be packed from gate and up, {width} rows each, not {parts}")
        if layer.rope < 0:
            raise KernelArgumentError(f"fuse: rope must be the number of a table, not {layer.rope}")
        q_norm, k_norm, eps = head_norms("fuse", layer.head_norms, head_dim)
        if layer.head_norms is not None and eps != self._eps:
            raise KernelArgumentError(f"fuse: eps of head_norms is {eps}, not {self._eps} as in the other norms")
        bias = layer.qkv_bias
        return layer._replace(
            input_norm=fp32("fuse: input_norm", layer.input_norm, hidden),
            qkv_bias=None if bias is None else fp32("fuse: qkv_bias", bias, qkv_width),
            post_attention_norm=fp32("fuse: post_attention_norm", layer.post_attention_norm, hidden),
            head_norms=None if q_norm is None or k_norm is None else HeadNorms(q_norm, k_norm, eps),
        )


def _row(layer: LayerWeights) -> list[int]:
    """Return the fields of `Layer` in `src/layers/layers.h`, as int64."""
    norms = (None, None) if layer.head_norms is None else layer.head_norms[:2]
    vectors = (layer.input_norm, layer.qkv_bias, layer.post_attention_norm, *norms)
    row = [0 if vector is None else vector.data_ptr() for vector in vectors] + [layer.rope]
    for weight in (layer.qkv, layer.attention_output, layer.gate_up, layer.down):
        row += _weight(weight)
    return row


def _weight(weight: PackedLinear) -> list[int]:
    data, sections, count, columns = packed("fuse", weight).arguments()
    return [data.data_ptr(), sections.data_ptr(), count, columns]
