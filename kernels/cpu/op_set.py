"""The ops of `Kernels` on top of the library."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..blocks import Weight
from ..ops import Compute, Draw, HeadTopK, KVScales, LayerWeights
from ..plan import Plan
from .arena import Arena
from .fused_layers import CpuFusedLayers
from .library import Library
from .packed_linear import CpuLinear, pack


class CpuKernels:
    """CPU kernels in fp32, with weights as they are stored.

    Every op runs on as many threads as torch does at the time of the call; results do not depend on how many. All
    tensors are fp32 and contiguous, apart from packed weights and indices.
    """

    name = "cpu"
    keys_by_dim = True
    fast_is_faster = True
    deterministic = True
    fp8_dtype = None

    def __init__(self, library: Library) -> None:
        """Compute with `library`."""
        self._library = library
        self._arena = Arena()

    def tiling(self, heads: int, kv_heads: int) -> None:
        """Read plans item by item. See `Kernels.tiling`."""

    def pack_linear(
        self, parts: Sequence[Weight], dtype: torch.dtype, device: torch.device, compute: Compute = "exact"
    ) -> CpuLinear:
        """Pack `parts` without changing a value. See `Kernels.pack_linear`."""
        assert dtype == torch.float32
        assert device.type == "cpu"
        return pack(self._library, self._arena, parts, compute, torch.get_num_threads())

    def fuse(self, layers: Sequence[LayerWeights], eps: float, head_dim: int) -> CpuFusedLayers:
        """One call for all layers. See `Kernels.fuse`."""
        return CpuFusedLayers(self._library, layers, eps, head_dim)

    def linear(self, x: Tensor, weight: CpuLinear) -> Tensor:
        """`y = x Wᵀ`. See `Kernels.linear`."""
        x = _fp32(x)
        rows, columns = x.shape
        assert columns == weight.in_features
        y = torch.empty(rows, weight.out_features)
        self._library.call("linear", *weight.arguments(), x, rows, y, torch.get_num_threads())
        return y

    def embed(self, ids: Tensor, weight: CpuLinear) -> Tensor:
        """Decode rows of the embedding. See `Kernels.embed`."""
        ids = ids.contiguous()
        (rows,) = ids.shape
        out = torch.empty(rows, weight.in_features)
        self._library.call("embed", *weight.arguments(), ids, rows, out, torch.get_num_threads())
        return out

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """Residual add and RMSNorm. See `Kernels.rms_norm`."""
        x = _fp32(x)
        residual = None if residual is None else _fp32(residual)
        normed, h = torch.empty_like(x), torch.empty_like(x)
        threads = torch.get_num_threads()
        self._library.call("rms_norm", x, residual, weight, eps, *x.shape, normed, h, threads)
        return normed, h

    def rope_store(
        self,
        qkv: Tensor,
        bias: Tensor | None,
        cos: Tensor,
        sin: Tensor,
        slots: Tensor,
        k_pages: Tensor,
        v_pages: Tensor,
        scales: KVScales | None = None,
    ) -> Tensor:
        """QKV bias, RoPE and the write of K and V. See `Kernels.rope_store`."""
        assert scales is None, "pages are fp32"
        qkv, cos, sin = _fp32(qkv), _fp32(cos), _fp32(sin)
        _, kv_heads, page_size, head_dim = k_pages.shape
        group = qkv.shape[1] // head_dim // kv_heads - 2
        q = torch.empty(len(qkv), kv_heads * group, head_dim)
        shape = (len(qkv), kv_heads, group, head_dim, page_size)
        threads = torch.get_num_threads()
        self._library.call("rope_store", qkv, bias, cos, sin, slots, *shape, k_pages, v_pages, q, threads)
        return q

    def tree_attention(
        self, q: Tensor, k_pages: Tensor, v_pages: Tensor, plan: Plan, scale: float, scales: KVScales | None = None
    ) -> Tensor:
        """Attention along every row's path. See `Kernels.tree_attention`."""
        assert scales is None, "pages are fp32"
        q = _fp32(q)
        rows, heads, head_dim = q.shape
        kv_heads, page_size = k_pages.shape[1:3]
        assert page_size == 16, "a page of K is one panel of the micro-kernel"
        out = torch.empty_like(q)
        items = (plan.positions, plan.items, len(plan.items), plan.pages)
        shape = (rows, kv_heads, heads // kv_heads, head_dim, page_size)
        threads = torch.get_num_threads()
        self._library.call("tree_attention", q, k_pages, v_pages, *items, *shape, scale, out, threads)
        return out

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        """SwiGLU's product. See `Kernels.silu_mul`."""
        gate_up = _fp32(gate_up)
        rows, width = len(gate_up), gate_up.shape[1] // 2
        out = torch.empty(rows, width)
        self._library.call("silu_mul", gate_up, rows, width, out, torch.get_num_threads())
        return out

    def lm_head_topk(
        self, hidden: Tensor, weight: CpuLinear, k: int, targets: Tensor | None = None, draw: Draw | None = None
    ) -> HeadTopK:
        """LM head, log-sum-exp, top-k and draw in one pass over the vocabulary. See `Kernels.lm_head_topk`."""
        hidden = _fp32(hidden)
        rows = hidden.shape[0]
        top_ids, top_logits = torch.empty(rows, k, dtype=torch.int64), torch.empty(rows, k)
        lse = torch.empty(rows)
        target_logits = None if targets is None else torch.empty(rows)
        drawn_ids = drawn_logits = scaled_lse = None
        wishes: tuple[Tensor | None, ...] = (None, None, None)
        if draw is not None:
            drawn_ids = torch.empty(rows, dtype=torch.int64)
            drawn_logits, scaled_lse = torch.empty(rows), torch.empty(rows)
            wishes = (_fp32(draw.temperature), draw.key.contiguous(), draw.position.contiguous())
        targets = None if targets is None else targets.contiguous()
        results = (top_ids, top_logits, lse, target_logits, drawn_ids, drawn_logits, scaled_lse)
        asked = (hidden, rows, k, targets, *wishes)
        self._library.call("lm_head_topk", *weight.arguments(), *asked, *results, torch.get_num_threads())
        return HeadTopK(*results)


def _fp32(x: Tensor) -> Tensor:
    assert x.dtype == torch.float32, f"the CPU kernels compute in fp32, not {x.dtype}"
    return x.contiguous()
