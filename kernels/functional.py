"""The ops as functions of plain tensors: `marcot.kernels` as a library. docs/kernels.md explains how to use it.

Each function chooses the op set for the device and dtype of its tensors, as `select` does, and checks its arguments,
which op sets on a GPU do not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from .blocks import BlockTensor, Weight, row_bytes
from .errors import KernelArgumentError
from .layer_weights import Compute, PackedLinear
from .ops import Kernels
from .plan import PAGE_SIZE, Plan
from .plan.item_table import ItemTable
from .plan.kv_segment import KVSegment, SegmentReads, check_segments
from .plan.tiler import Tiler
from .sampling import MAX_TOP_K, Draw, HeadTopK
from .select import ENVIRONMENT_VARIABLE, select

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""Dtypes of K, V and hidden states."""


class TreePlan(NamedTuple):
    """What `tree_attention` reads in one step, the same for every layer; made by `plan_tree`.

    Attributes:
        positions: `[rows]` int64, the absolute position of each row in its path, for RoPE.
        heads: Query heads that it was made for.
        kv_heads: KV heads that it was made for.
        pages: Pages of the cache that it was made for.
        plan: The plan in the form that the op set reads, with rows in depth-first order.
        order: `[rows]` int64, the caller's row that is each row of `plan`; None if the order is the same.
        back: `[rows]` int64, the inverse of `order`, or None.
    """

    positions: Tensor
    heads: int
    kv_heads: int
    pages: int
    plan: Plan
    order: Tensor | None
    back: Tensor | None


@dataclass(frozen=True, slots=True)
class PackedHead:
    """The weight of an LM head in the layout of an op set; made by `pack_head`.

    Attributes:
        weight: The packed weight.
        dtype: Dtype of the hidden states that it can be multiplied with.
        device: Their device.
    """

    weight: PackedLinear
    dtype: torch.dtype
    device: torch.device


def plan_tree(
    segments: Sequence[KVSegment], queries: Sequence[tuple[int, int]], k_pages: Tensor, heads: int
) -> TreePlan:
    """Plan which rows read which tokens: once per step, for all layers.

    A segment that several queries share is loaded once for all of them. On a GPU, the plan is cut into tiles by a model
    of the kernel's time that was fitted on an H200.

    Args:
        segments: The tree of cached tokens, parents first.
        queries: Pairs `(segment, rows)`: the last `rows` tokens of that segment are queries. Rows of `q` and of the
            result are in the order of the queries. A segment with children may have queries too.
        k_pages: `[pages, kv_heads, PAGE_SIZE, head_dim]`, the K pages of any layer.
        heads: Number of query heads, a multiple of `kv_heads`.

    Raises:
        KernelArgumentError: `segments` or `queries` are invalid; the message says which one, and why.
    """
    kv_heads, head_dim = _check_pages("plan_tree", k_pages)
    if heads < 1 or kv_heads < 1 or heads % kv_heads:
        raise KernelArgumentError(f"plan_tree: {heads} query heads cannot be divided evenly among {kv_heads} KV heads")
    check_segments(segments, queries, len(k_pages))
    ops, device = _ops(k_pages), k_pages.device
    reads = SegmentReads(segments, queries)
    tiling = ops.tiling(heads, kv_heads)
    if tiling is None:
        plan = reads.items()
    else:
        tiler = Tiler(tiling, heads // kv_heads, head_dim, deterministic=ops.deterministic)
        plan = ItemTable().plan(reads.positions)._replace(tiles=tiler.cut(reads.tree()))
    order = torch.from_numpy(reads.order)
    back = order.argsort()
    positions = torch.from_numpy(reads.positions)[back].to(device)
    in_order = torch.equal(order, torch.arange(len(order)))
    moves = (None, None) if in_order else (order.to(device), back.to(device))
    return TreePlan(positions, heads, kv_heads, len(k_pages), plan.to(device), *moves)


def store_kv(k: Tensor, v: Tensor, slots: Tensor | Sequence[int], k_pages: Tensor, v_pages: Tensor) -> None:
    """Write K and V of some tokens to their slots.

    Op sets arrange the values of a K page in different ways, so write K only with this function, or with `rope_store`
    of the op set.

    Args:
        k: `[tokens, kv_heads, head_dim]`, keys with RoPE applied.
        v: Same shape as `k`.
        slots: `[tokens]` int64, `page * PAGE_SIZE + offset`, see `KVSegment.slots`. Slots on a GPU are not checked,
            because checking them would mean waiting for it.
        k_pages: `[pages, kv_heads, PAGE_SIZE, head_dim]`, contiguous, in the dtype of `k`, written in place.
        v_pages: Same shape as `k_pages`, written in place.

    Raises:
        KernelArgumentError: Shapes, dtypes or devices do not fit, or a slot is outside of the pages.
    """
    op = "store_kv"
    kv_heads, head_dim = _check_pages(op, k_pages, v_pages)
    at = torch.as_tensor(slots)
    if at.ndim != 1 or (len(at) and at.dtype not in (torch.int64, torch.int32)):
        raise KernelArgumentError(f"{op}: slots must be int64 [tokens], not {_about(at)}")
    at = at.long()
    for name, tensor in (("k", k), ("v", v)):
        _check(op, name, tensor, (len(at), kv_heads, head_dim), k_pages.dtype, k_pages.device)
    capacity = len(k_pages) * PAGE_SIZE
    if at.device.type == "cpu" and len(at) and not 0 <= int(at.min()) <= int(at.max()) < capacity:
        raise KernelArgumentError(f"{op}: a slot is outside of the {len(k_pages)} pages, which have {capacity} slots")
    at = at.to(k_pages.device)
    page, offset = at // PAGE_SIZE, at % PAGE_SIZE
    keys = k_pages
    if _ops(k_pages).keys_by_dim:
        keys = k_pages.view(-1, kv_heads, head_dim, PAGE_SIZE).transpose(-1, -2)
    keys[page, :, offset] = k
    v_pages[page, :, offset] = v


def tree_attention(q: Tensor, k_pages: Tensor, v_pages: Tensor, plan: TreePlan, scale: float | None = None) -> Tensor:
    """Softmax attention of each row over its own token and all tokens above it in the tree.

    It has no gradient. On a GPU, calls must not overlap on different streams: they share counters.

    Args:
        q: `[rows, heads, head_dim]`, queries with RoPE applied, in the order of the plan's queries. Query head `h`
            reads KV head `h // (heads / kv_heads)`.
        k_pages: `[pages, kv_heads, PAGE_SIZE, head_dim]`, contiguous, in the dtype of `q`, written by `store_kv`. What
            is in slots outside the plan does not matter.
        v_pages: Same shape as `k_pages`.
        plan: From `plan_tree`.
        scale: Factor of the scores, above 0; None for `head_dim ** -0.5`.

    Returns:
        `[rows, heads, head_dim]` in the dtype of `q`.

    Raises:
        KernelArgumentError: Shapes, dtypes, devices or the scale do not fit, or `q` needs a gradient.
    """
    op = "tree_attention"
    kv_heads, head_dim = _check_pages(op, k_pages, v_pages)
    if kv_heads != plan.kv_heads:
        raise KernelArgumentError(f"{op}: pages have {kv_heads} KV heads, but the plan is for {plan.kv_heads}")
    if len(k_pages) < plan.pages:
        raise KernelArgumentError(f"{op}: there are {len(k_pages)} pages, but the plan is for a cache of {plan.pages}")
    _check(op, "q", q, (len(plan.positions), plan.heads, head_dim), k_pages.dtype, k_pages.device)
    if plan.positions.device != q.device:
        raise KernelArgumentError(f"{op}: the plan was made for pages on {plan.positions.device}, not on {q.device}")
    # A float in any case: a GPU binary that was compiled for an integer cannot take a fraction later.
    scale = head_dim**-0.5 if scale is None else float(scale)
    if not 0 < scale < math.inf:
        raise KernelArgumentError(f"{op}: scale must be a finite number above 0, not {scale}")
    rows = q.contiguous() if plan.order is None else q[plan.order]
    with _current(q.device):
        out = _ops(k_pages).tree_attention(rows, k_pages, v_pages, plan.plan, scale)
    return out if plan.back is None else out[plan.back]


def pack_head(
    weight: Weight,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    compute: Compute = "exact",
) -> PackedHead:
    """Pack the weight of an LM head, once, for `lm_head_topk`. Takes memory for a copy of it.

    Args:
        weight: `[vocab, hidden]`, dense in any float dtype, or a `BlockTensor`.
        dtype: Dtype of the hidden states, fp32, fp16 or bf16; None for fp32 on a CPU, whatever `weight` is stored in,
            and for the dtype of `weight` on a GPU (fp16 if it is block-quantised).
        device: Where it will be used; None for the device of `weight`.
        compute: `fast` rounds hidden states to int8 where they meet block-quantised weights on a CPU.

    Raises:
        KernelArgumentError: `weight`, `dtype` or `compute` is not one of those above.
        BlockFormatError: The blocks of `weight` are in an unknown format, or their rows are not whole blocks.
        NonFiniteError: A value is infinite or NaN.
    """
    op = "pack_head"
    _check_weight(op, weight)
    if compute not in get_args(Compute):
        raise KernelArgumentError(f"{op}: compute must be one of {', '.join(get_args(Compute))}, not {compute}")
    stored = weight.data if isinstance(weight, BlockTensor) else weight.detach()
    device = stored.device if device is None else torch.device(device)
    if dtype is None:
        dtype = torch.float16 if isinstance(weight, BlockTensor) else weight.dtype
        dtype = torch.float32 if device.type == "cpu" else dtype
    if dtype not in _DTYPES:
        raise KernelArgumentError(f"{op}: dtype must be one of {_known_dtypes()}, not {_dtype_name(dtype)}")
    part = weight if isinstance(weight, BlockTensor) else stored
    probe = torch.empty(0, dtype=dtype, device=device)
    with _current(device):
        packed = _ops(probe).pack_linear([part], dtype, probe.device, compute)
    return PackedHead(packed, dtype, probe.device)


def lm_head_topk(
    hidden: Tensor, head: PackedHead, k: int, targets: Tensor | None = None, draw: Draw | None = None
) -> HeadTopK:
    """LM head fused with log-sum-exp and top-k: returns the needed values of each row of logits, without the logits.

    It has no gradient.

    Args:
        hidden: `[rows, hidden]`, after the final norm, in the dtype of `head`.
        head: From `pack_head`.
        k: How many of the most probable tokens to return; `1 <= k <= min(vocab, MAX_TOP_K)`.
        targets: `[rows]` int64, tokens whose logits are wanted too, or None. Targets on a GPU are not checked: the
            logit of one outside the vocabulary is undefined.
        draw: Draw a token from each row's softmax, by the Gumbel-max trick; None for no draw.

    Returns:
        The most probable tokens with their logits and the log-sum-exp, so that `logprob = logit - lse`. If a row has a
        logit that is NaN or +inf, its `lse` is not finite, and its other results are undefined.

    Raises:
        KernelArgumentError: Shapes, dtypes or devices do not fit, or `hidden` needs a gradient.
    """
    op = "lm_head_topk"
    if not isinstance(head, PackedHead):
        raise KernelArgumentError(f"{op}: the head must be packed once, by pack_head, not {_about(head)}")
    rows = hidden.shape[0] if isinstance(hidden, Tensor) and hidden.ndim else 0
    most = min(MAX_TOP_K, head.weight.out_features)
    _check(op, "hidden", hidden, (rows, head.weight.in_features), head.dtype, head.device)
    if not 1 <= k <= most:
        raise KernelArgumentError(f"{op}: k must be from 1 to {most}, not {k}")
    if targets is not None:
        _check(op, "targets", targets, (rows,), torch.int64, head.device)
    if draw is not None:
        dtypes = (torch.float32, torch.int64, torch.int64)
        for name, tensor, dtype in zip(draw._fields, draw, dtypes, strict=True):
            _check(op, name, tensor, (rows,), dtype, head.device)
    with _current(head.device):
        return _ops(hidden).lm_head_topk(hidden.contiguous(), head.weight, k, targets, draw)


def _ops(tensor: Tensor) -> Kernels:
    """The op set for the device and dtype of `tensor`."""
    return _selected(tensor.device, tensor.dtype, os.environ.get(ENVIRONMENT_VARIABLE))


@cache
def _selected(device: torch.device, dtype: torch.dtype, _override: str | None) -> Kernels:
    """`select`, once for each value of its environment variable."""
    return select(device, dtype)


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Make `device` current, as Triton launches kernels on the current GPU."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _check_pages(op: str, *both: Tensor) -> tuple[int, int]:
    """Check the pages of a layer, K first; returns KV heads and head_dim."""
    k_pages = both[0]
    for name, pages in zip(("k_pages", "v_pages"), both, strict=False):
        if not isinstance(pages, Tensor) or pages.ndim != 4 or pages.shape[2] != PAGE_SIZE:
            wanted = f"[pages, kv_heads, {PAGE_SIZE}, head_dim]"
            raise KernelArgumentError(f"{op}: {name} must be a tensor {wanted}, not {_about(pages)}")
        if pages.dtype not in _DTYPES:
            raise KernelArgumentError(
                f"{op}: {name} must be in one of {_known_dtypes()}; for fp8 pages, which have scales, use the ops of "
                "select()"
            )
        if not pages.is_contiguous():
            raise KernelArgumentError(f"{op}: {name} must be contiguous, because it is written in place")
        _check(op, name, pages, tuple(k_pages.shape), k_pages.dtype, k_pages.device)
    return k_pages.shape[1], k_pages.shape[3]


def _check(
    op: str, name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> None:
    """Check an argument; autograd does not see what the kernels do, so its gradient must not be wanted."""
    if not isinstance(tensor, Tensor) or (*tensor.shape,) != shape or tensor.dtype != dtype or tensor.device != device:
        wanted = f"{_dtype_name(dtype)} {list(shape)} on {device}"
        raise KernelArgumentError(f"{op}: {name} must be {wanted}, not {_about(tensor)}")
    if tensor.requires_grad and torch.is_grad_enabled():
        raise KernelArgumentError(f"{op}: {name} needs a gradient, but there is none: call it under torch.no_grad()")


def _check_weight(op: str, weight: Weight) -> None:
    """Check that `weight` is a dense matrix of floats, or one whose rows are blocks of its format."""
    if isinstance(weight, BlockTensor):
        wanted = row_bytes(weight.format, weight.columns)
        if weight.data.dtype != torch.uint8 or weight.data.ndim != 2 or weight.data.shape[1] != wanted:
            about = f"{weight.columns} columns in {weight.format} are uint8 [vocab, {wanted}]"
            raise KernelArgumentError(f"{op}: {about}, not {_about(weight.data)}")
    elif not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        raise KernelArgumentError(
            f"{op}: the weight must be a tensor [vocab, hidden] of a float dtype or a BlockTensor, not {_about(weight)}"
        )
    if not weight.shape[1]:
        raise KernelArgumentError(f"{op}: the weight has no columns")


def _about(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{_dtype_name(value.dtype)} {list(value.shape)} on {value.device}"


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _known_dtypes() -> str:
    return ", ".join(map(_dtype_name, _DTYPES))
