"""QKV bias, norms of heads, RoPE and the write of K and V into the cache."""

from __future__ import annotations

import torch
from torch import Tensor

from ..layer_weights import HeadNorms, KVScales
from .rms_norm import rms_norm


def rope_store(
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
    """Rotate Q and K by their positions, store K and V. See `Kernels.rope_store`."""
    _, kv_heads, page_size, head_dim = k_pages.shape
    if bias is not None:
        qkv = qkv + bias
    q, k, v = qkv.view(len(qkv), -1, head_dim).tensor_split((-2 * kv_heads, -kv_heads), dim=1)
    if norms is not None:
        q, k = (rms_norm(x, weight, norms.eps, None)[0] for x, weight in ((q, norms.q), (k, norms.k)))
    cos, sin = cos[:, None].to(qkv.dtype), sin[:, None].to(qkv.dtype)
    kept = slots >= 0
    page, slot = slots[kept] // page_size, slots[kept] % page_size
    k = _rotate(k, cos, sin)
    if scales is not None:
        k, v = (_divided(x, scale, pages) for x, scale, pages in ((k, scales.k, k_pages), (v, scales.v, v_pages)))
    k_pages[page, :, slot] = k[kept].to(k_pages.dtype)
    v_pages[page, :, slot] = v[kept].to(v_pages.dtype)
    return _rotate(q, cos, sin)


def _divided(x: Tensor, scale: Tensor, pages: Tensor) -> Tensor:
    """`x / scale` per head (`[rows, kv_heads, head_dim]`) in fp32, clamped to the range of the dtype of `pages`."""
    largest = torch.finfo(pages.dtype).max
    return (x.float() / scale[:, None]).clamp(-largest, largest)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate dimension pairs `(i, i + head_dim / 2)` of `x` (`[rows, heads, head_dim]`)."""
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)
