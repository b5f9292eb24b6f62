"""QKV bias, norms of heads, RoPE and the write of K and V, in one pass that reads each row of QKV once."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from collections.abc import Iterator
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..layer_weights import HeadNorms, KVScales
from ..plan import PAGE_SIZE
from .arch import Arch
from .attention.shape import fp8_dtype
from .launch import launched
from .variant import Variant, pointer_to

_PAIRS = 1024
"""Pairs of dimensions per thread block: 8 for each of its threads, so that 16-bit values move 16 bytes at a time."""

_WARPS = 4


@launched(tensors=12, counts=2)
def _rope_store(
    q,
    k_pages,
    v_pages,
    qkv,
    bias,
    cos,
    sin,
    slots,
    k_scales,
    v_scales,
    q_norm,
    k_norm,
    heads,
    kv_heads,
    eps,
    LARGEST: tl.constexpr,
    HALF: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    BLOCK_HEADS: tl.constexpr,
    BLOCK_HALF: tl.constexpr,
):
    """Process some heads of one row; heads are numbered across Q, K and V. Computed in fp32 and rounded once."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)[:, None]
    pair = tl.arange(0, BLOCK_HALF)[None, :]
    all_heads = heads + 2 * kv_heads
    inside = (head < all_heads) & (pair < HALF)
    place = head * (2 * HALF) + pair
    low = tl.load(qkv + row * (all_heads * 2 * HALF) + place, inside, 0.0).to(tl.float32)
    high = tl.load(qkv + row * (all_heads * 2 * HALF) + place + HALF, inside, 0.0).to(tl.float32)
    if bias is not None:
        low += tl.load(bias + place, inside, 0.0).to(tl.float32)
        high += tl.load(bias + place + HALF, inside, 0.0).to(tl.float32)
    if q_norm is not None:
        mean = tl.sum(low * low + high * high, axis=1, keep_dims=True) / (2 * HALF)
        factor = tl.where(head < heads + kv_heads, tl.rsqrt(mean + eps), 1.0)
        of_q, of_k = inside & (head < heads), inside & (head >= heads) & (head < heads + kv_heads)
        low *= factor * _norm_weights(q_norm + pair, k_norm + pair, of_q, of_k)
        high *= factor * _norm_weights(q_norm + HALF + pair, k_norm + HALF + pair, of_q, of_k)
    c = tl.load(cos + row * HALF + pair, pair < HALF, 0.0)
    s = tl.load(sin + row * HALF + pair, pair < HALF, 0.0)
    rotates = head < heads + kv_heads
    low, high = tl.where(rotates, low * c - high * s, low), tl.where(rotates, high * c + low * s, high)

    is_query = inside & (head < heads)
    place += row * (heads * 2 * HALF)
    tl.store(q + place, low.to(q.dtype.element_ty), is_query)
    tl.store(q + place + HALF, high.to(q.dtype.element_ty), is_query)

    slot = tl.load(slots + row)
    kv_head = head - heads
    _store_head(k_pages, k_scales, low, high, slot, kv_head, kv_heads, inside, LARGEST, HALF, PAGE_SIZE)
    _store_head(v_pages, v_scales, low, high, slot, kv_head - kv_heads, kv_heads, inside, LARGEST, HALF, PAGE_SIZE)


@triton.jit
def _norm_weights(q_norm, k_norm, of_q, of_k):
    """The norm's weights for heads of Q and of K; 1 for other heads."""
    weights = tl.load(q_norm, of_q, 0.0).to(tl.float32) + tl.load(k_norm, of_k, 0.0).to(tl.float32)
    return tl.where(of_q | of_k, weights, 1.0)


@triton.jit
def _store_head(
    pages, scales, low, high, slot, kv_head, kv_heads, inside,
    LARGEST: tl.constexpr, HALF: tl.constexpr, PAGE_SIZE: tl.constexpr,
):  # fmt: skip
    """Write to `slot` of `pages` those heads whose `kv_head` is in range."""
    inside &= (kv_head >= 0) & (kv_head < kv_heads) & (slot >= 0)
    if scales is not None:
        scale = tl.load(scales + kv_head, (kv_head >= 0) & (kv_head < kv_heads), 1.0)
        low = tl.clamp(low / scale, -LARGEST, LARGEST)
        high = tl.clamp(high / scale, -LARGEST, LARGEST)
    pair = tl.arange(0, low.shape[1])[None, :]
    place = ((slot // PAGE_SIZE * kv_heads + kv_head) * PAGE_SIZE + slot % PAGE_SIZE) * (2 * HALF) + pair
    tl.store(pages + place, low.to(pages.dtype.element_ty), inside)
    tl.store(pages + place + HALF, high.to(pages.dtype.element_ty), inside)


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
    rows = qkv.shape[0]
    all_heads = qkv.shape[1] // head_dim
    heads = all_heads - 2 * kv_heads
    assert heads > 0
    assert k_pages.shape == v_pages.shape
    assert k_pages.dtype == v_pages.dtype
    assert (k_pages.dtype == qkv.dtype) == (scales is None)
    assert cos.shape == sin.shape == (rows, head_dim // 2)
    assert slots.shape == (rows,)
    assert bias is None or bias.shape == qkv.shape[1:]
    assert norms is None or norms.q.shape == norms.k.shape == (head_dim,)
    for tensor in (qkv, cos, sin, slots, k_pages, v_pages):
        assert tensor.is_contiguous()
    q = torch.empty(rows, heads, head_dim, dtype=qkv.dtype, device=qkv.device)
    if rows:
        block_heads, block_half = _block(head_dim)
        k_scales, v_scales = (None, None) if scales is None else scales
        q_norm, k_norm, eps = (None, None, 0.0) if norms is None else norms
        _rope_store[rows, -(-all_heads // block_heads)](
            q, k_pages, v_pages, qkv, bias, cos, sin, slots, k_scales, v_scales, q_norm, k_norm, heads,
            kv_heads, eps, _largest(k_pages.dtype), head_dim // 2, page_size, block_heads, block_half, num_warps=_WARPS,
        )  # fmt: skip
    return q


@cache
def _block(head_dim: int) -> tuple[int, int]:
    """Heads per thread block, and pairs per head rounded up to a power of two."""
    half = 1 << (head_dim // 2 - 1).bit_length()
    return max(1, _PAIRS // half), half


@cache
def _largest(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).max


def rope_store_variants(arch: Arch) -> Iterator[Variant]:
    """Every binary that `rope_store` launches in 16 bits for heads of 64 and 128, whatever their number."""
    for dtype in (torch.float16, torch.bfloat16):
        for head_dim in (64, 128):
            for pages in (dtype, fp8_dtype(arch)):
                for before in ("", "bias", "norms"):
                    yield _variant(dtype, pages, head_dim, before)


def _variant(dtype: torch.dtype, pages: torch.dtype, head_dim: int, before: str) -> Variant:
    block_heads, block_half = _block(head_dim)
    tensors = dict.fromkeys(("q", "qkv", "bias"), pointer_to(dtype)) | {"cos": "*fp32", "sin": "*fp32", "slots": "*i64"}
    tensors |= dict.fromkeys(("k_pages", "v_pages"), pointer_to(pages))
    tensors |= dict.fromkeys(("k_scales", "v_scales"), "*fp32") | dict.fromkeys(("q_norm", "k_norm"), pointer_to(dtype))
    unused = {"bias": ("bias",), "norms": ("q_norm", "k_norm")}
    missing = [name for what, names in unused.items() if what != before for name in names]
    missing += ("k_scales", "v_scales") if pages == dtype else ()
    tensors = {name: kind for name, kind in tensors.items() if name not in missing}
    constants: dict[str, object] = {
        **dict.fromkeys(missing),
        "LARGEST": torch.finfo(pages).max,
        "HALF": head_dim // 2,
        "PAGE_SIZE": PAGE_SIZE,
        "BLOCK_HEADS": block_heads,
        "BLOCK_HALF": block_half,
    }
    kinds = " ".join(dict.fromkeys((pointer_to(dtype)[1:], pointer_to(pages)[1:])))
    name = f"rope_store {kinds} d{head_dim} {before}".rstrip()
    signature = tensors | {"heads": "i32", "kv_heads": "i32", "eps": "fp32"}
    return Variant(name, _rope_store, signature, constants, _WARPS, 3, tuple(tensors))
