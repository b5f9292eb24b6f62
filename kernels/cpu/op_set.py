"""The op set of `Kernels`, implemented by calls of the library."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..blocks import Weight
from ..errors import KernelArgumentError
from ..layer_weights import Compute, HeadNorms, KVScales, LayerWeights
from ..plan import PAGE_SIZE, Plan
from ..sampling import MAX_TOP_K, Draw, HeadTopK, RoundState, Sampled, SampleParams
from .arena import Arena
from .arguments import (
    candidates,
    done,
    fp32,
    gqa_group,
    head_norms,
    int64,
    packed,
    planned,
    round_state,
    same,
    written,
)
from .fused_layers import CpuFusedLayers
from .library import Library
from .packed_linear import CpuLinear, pack


class CpuKernels:
    """CPU kernels in fp32, with weights as they are stored.

    Every op runs on `torch.get_num_threads()` threads; results do not depend on the number of threads. All tensors are
    fp32, apart from packed weights and indices. If shapes do not match, or an index is out of range, the op raises
    `KernelArgumentError` and writes nothing.
    """

    name = "cpu"
    keys_by_dim = True
    fast_is_faster = True
    deterministic = True
    fp8_dtype = None

    def __init__(self, library: Library) -> None:
        """Use the functions of `library`."""
        self._library = library
        self._arena = Arena()

    def tiling(self, heads: int, kv_heads: int) -> None:
        """Return None: these kernels read plans item by item, without tiles. See `Kernels.tiling`."""

    def pack_linear(
        self, parts: Sequence[Weight], dtype: torch.dtype, device: torch.device, compute: Compute = "exact"
    ) -> CpuLinear:
        """Pack `parts` without changing any value. See `Kernels.pack_linear`."""
        if dtype != torch.float32 or device.type != "cpu":
            raise KernelArgumentError(
                f"pack_linear: the CPU kernels compute in float32 on the CPU, not {dtype} on {device}"
            )
        return pack(self._library, self._arena, parts, compute, torch.get_num_threads())

    def fuse(self, layers: Sequence[LayerWeights], eps: float, head_dim: int) -> CpuFusedLayers:
        """Return an op that runs all layers in one call. See `Kernels.fuse`."""
        return CpuFusedLayers(self._library, layers, eps, head_dim)

    def linear(self, x: Tensor, weight: CpuLinear) -> Tensor:
        """`y = x Wᵀ`. See `Kernels.linear`."""
        weight = packed("linear: weight", weight)
        x = fp32("linear: x", x, -1, weight.in_features)
        rows = x.shape[0]
        y = torch.empty(rows, weight.out_features)
        self._library.call("linear", *weight.arguments(), x, rows, y, torch.get_num_threads())
        return y

    def embed(self, ids: Tensor, weight: CpuLinear) -> Tensor:
        """Look up and decode rows of the embedding. See `Kernels.embed`."""
        weight = packed("embed: weight", weight)
        ids = int64("embed: ids", ids, -1)
        rows = ids.shape[0]
        out = torch.empty(rows, weight.in_features)
        refusal = self._library.call("embed", *weight.arguments(), ids, rows, out, torch.get_num_threads())
        done("embed", refusal)
        return out

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """Residual add and RMSNorm. See `Kernels.rms_norm`."""
        x = fp32("rms_norm: x", x, -1, -1)
        residual = None if residual is None else fp32("rms_norm: residual", residual, *x.shape)
        weight = fp32("rms_norm: weight", weight, x.shape[1])
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
        norms: HeadNorms | None = None,
    ) -> Tensor:
        """Add the QKV bias, normalise heads, apply RoPE and store K and V. See `Kernels.rope_store`."""
        _no_scales("rope_store", scales)
        k_pages = written("rope_store: k_pages", k_pages, -1, -1, -1, -1)
        v_pages = written("rope_store: v_pages", v_pages, *k_pages.shape)
        pages, kv_heads, page_size, head_dim = k_pages.shape
        qkv = fp32("rope_store: qkv", qkv, -1, -1)
        rows, width = qkv.shape
        group = gqa_group("rope_store", width // max(head_dim, 1) - 2 * kv_heads, kv_heads)
        same("rope_store: columns of qkv", width, (group + 2) * kv_heads * head_dim)
        same("rope_store: head_dim", head_dim, head_dim // 2 * 2)
        bias = None if bias is None else fp32("rope_store: bias", bias, width)
        weights = head_norms("rope_store", norms, head_dim)
        cos = fp32("rope_store: cos", cos, rows, head_dim // 2)
        sin = fp32("rope_store: sin", sin, rows, head_dim // 2)
        slots = int64("rope_store: slots", slots, rows)
        q = torch.empty(rows, kv_heads * group, head_dim)
        shape = (rows, kv_heads, group, head_dim, page_size, pages)
        threads = torch.get_num_threads()
        given = (qkv, bias, *weights, cos, sin, slots)
        refusal = self._library.call("rope_store", *given, *shape, k_pages, v_pages, q, threads)
        done("rope_store", refusal)
        return q

    def tree_attention(
        self, q: Tensor, k_pages: Tensor, v_pages: Tensor, plan: Plan, scale: float, scales: KVScales | None = None
    ) -> Tensor:
        """Attention of every row over the tokens of its path. See `Kernels.tree_attention`."""
        _no_scales("tree_attention", scales)
        q = fp32("tree_attention: q", q, -1, -1, -1)
        rows, heads, head_dim = q.shape
        k_pages = fp32("tree_attention: k_pages", k_pages, -1, -1, PAGE_SIZE, head_dim)
        v_pages = fp32("tree_attention: v_pages", v_pages, *k_pages.shape)
        pages, kv_heads = k_pages.shape[:2]
        group = gqa_group("tree_attention", heads, kv_heads)
        out = torch.empty_like(q)
        shape = (rows, kv_heads, group, head_dim, PAGE_SIZE, pages)
        work = planned(plan, rows)
        threads = torch.get_num_threads()
        refusal = self._library.call("tree_attention", q, k_pages, v_pages, *work, *shape, scale, out, threads)
        done("tree_attention", refusal)
        return out

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        """SwiGLU: `silu(gate) * up`. See `Kernels.silu_mul`."""
        gate_up = fp32("silu_mul: gate_up", gate_up, -1, -1)
        rows, width = gate_up.shape[0], gate_up.shape[1] // 2
        same("silu_mul: columns", gate_up.shape[1], 2 * width)
        out = torch.empty(rows, width)
        self._library.call("silu_mul", gate_up, rows, width, out, torch.get_num_threads())
        return out

    def lm_head_topk(
        self, hidden: Tensor, weight: CpuLinear, k: int, targets: Tensor | None = None, draw: Draw | None = None
    ) -> HeadTopK:
        """LM head, log-sum-exp, top-k and draw in one pass over the vocabulary. See `Kernels.lm_head_topk`."""
        weight = packed("lm_head_topk: weight", weight)
        hidden = fp32("lm_head_topk: hidden", hidden, -1, weight.in_features)
        most = min(MAX_TOP_K, weight.out_features)
        if not 1 <= k <= most:
            raise KernelArgumentError(f"lm_head_topk: k must be from 1 to {most}, not {k}")
        rows = hidden.shape[0]
        top_ids, top_logits = torch.empty(rows, k, dtype=torch.int64), torch.empty(rows, k)
        lse = torch.empty(rows)
        target_logits = None if targets is None else torch.empty(rows)
        drawn_ids = drawn_logits = scaled_lse = None
        draws: tuple[Tensor | None, ...] = (None, None, None)
        if draw is not None:
            drawn_ids = torch.empty(rows, dtype=torch.int64)
            drawn_logits, scaled_lse = torch.empty(rows), torch.empty(rows)
            draws = (
                fp32("lm_head_topk: temperature", draw.temperature, rows),
                int64("lm_head_topk: key", draw.key, rows),
                int64("lm_head_topk: position", draw.position, rows),
            )
        targets = None if targets is None else int64("lm_head_topk: targets", targets, rows)
        results = (top_ids, top_logits, lse, target_logits, drawn_ids, drawn_logits, scaled_lse)
        asked = (hidden, rows, k, targets, *draws)
        threads = torch.get_num_threads()
        refusal = self._library.call("lm_head_topk", *weight.arguments(), *asked, *results, threads)
        done("lm_head_topk", refusal)
        return HeadTopK(*results)

    def sample(self, head: HeadTopK, params: SampleParams) -> Sampled:
        """Choose among candidates. See `Kernels.sample`."""
        chosen_from = candidates("sample", head, params)
        rows = head.lse.shape[0]
        ids, logits = torch.empty(rows, dtype=torch.int64), torch.empty(rows)
        settled = torch.empty(rows, dtype=torch.bool)
        self._library.call("sample", *chosen_from, ids, logits, settled, torch.get_num_threads())
        return Sampled(ids, logits, settled)

    def advance(self, state: RoundState, head: HeadTopK, params: SampleParams) -> None:
        """Choose the next token of every row and, where it is settled, advance the row. See `Kernels.advance`."""
        chosen_from = candidates("advance", head, params)
        moved = round_state(state, *head.top_ids.shape)
        refusal = self._library.call("advance", *chosen_from, *moved, torch.get_num_threads())
        done("advance", refusal)


def _no_scales(op: str, scales: KVScales | None) -> None:
    if scales is not None:
        raise KernelArgumentError(f"{op}: pages are fp32 and have no scales")
