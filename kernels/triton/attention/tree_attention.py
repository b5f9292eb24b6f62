"""Attention over a tree of KV segments: one launch for all tiles of a step.

A tile is some rows times some tokens of their common path. A thread block processes a tile for one KV head, and reads K
and V once for all rows and all query heads of the group. These (row, head) pairs are packed into the `BLOCK_M` rows of
its products: 9 rows with a group of 7 fill 63 of 64, because groups are not padded one by one.

In a tile of tails, each row sees only tokens in its own places, which begin at a multiple of the tile's width, a power
of two. The row that owns place `n` has its last place at `n | (width - 1)`. So a row that sees tokens up to place
`last` sees `n` if `n <= last <= n | (width - 1)`. In an ordinary tile, all rows share all places, and `n <= last` is
enough.

The kernel goes through the tokens in blocks, with the online softmax (arXiv 1805.02867, 2205.14135) in base 2. The
factor `scale * log2(e)` is applied where the maximum is subtracted, in one fused multiply-add.

The bits of a row's result depend only on its path, on where its tiles begin, and on `BLOCK_M`: a token's place in a
block is its distance from the tile's first position, wherever it is stored, and a block that a row does not see leaves
that row unchanged. So if tiles begin at fixed positions, a branch does not depend on its neighbours.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...layer_weights import KVScales
from ...plan import PAGE_SIZE, Plan, Tile
from ..arch import Arch
from ..launch import launched
from ..variant import Variant, pointer_to
from .fp8 import as_half, halves_of_words, held_in, joined_columns, scores_of, split_columns, with_values
from .merge import LEAST, Tickets, merge_in_place, merge_shape
from .places import row_and_head, slots_of
from .shape import BLOCKS_OF_ROWS, attention_shape, block_of_rows, fp8_dtype, tiling
from .tiles import cut

_LOG2_E = tl.constexpr(1.4426950408889634)
_FIELDS = tl.constexpr(len(Tile._fields))


@triton.jit
def _softmax_step(scores, factor, maximum, total):
    """Return the weights of a block of scores, the factor for all earlier weights, and the new maximum and total."""
    new_maximum = tl.maximum(maximum, tl.max(scores, axis=1) * factor)
    weights = tl.exp2(scores * factor[:, None] - new_maximum[:, None])
    kept = tl.exp2(maximum - new_maximum)
    return weights, kept, new_maximum, total * kept + tl.sum(weights, axis=1)


@launched(tensors=15, counts=3)
def _attend(
    out,
    partial_acc,
    partial_sums,
    tickets,
    q,
    k_pages,
    v_pages,
    k_scales,
    v_scales,
    positions,
    tails,
    tiles,
    slots,
    partials,
    merges,
    scale,
    group,
    kv_heads,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """Process one tile for one KV head.

    The KV heads of a tile are neighbours in the grid: they read the same slots, and different parts of the same pages.
    """
    kv_head = tl.program_id(0) % kv_heads
    tile = tiles + tl.program_id(0) // kv_heads * _FIELDS
    first, position, length = tl.load(tile), tl.load(tile + 1), tl.load(tile + 2)
    first_row, rows, partial = tl.load(tile + 3), tl.load(tile + 4), tl.load(tile + 5)
    width = tl.load(tile + 6)
    if length == 0:
        return

    # Lanes after the last pair repeat it, which keeps them inside every tensor; their results are not stored.
    lane = tl.arange(0, BLOCK_M)
    row, head = row_and_head(tl.minimum(lane, rows * group - 1), group, kv_head)
    dim = tl.arange(0, BLOCK_D)[None, :]
    is_padded: tl.constexpr = BLOCK_D != HEAD_DIM
    inside = dim < HEAD_DIM if is_padded else None
    nothing: tl.constexpr = 0.0 if is_padded else None
    place = (first_row + row).to(tl.int64) * (group * kv_heads) + head
    queries = tl.load(q + place[:, None] * HEAD_DIM + dim, inside, nothing)
    begin = tl.load(tails + first_row + row, width > 0, position)
    last = tl.minimum(tl.load(positions + first_row + row) - begin, tl.where(width > 0, width, length) - 1)
    last += row * width
    others = tl.where(width > 0, width - 1, (1 << 31) - 1)

    factor = tl.full([BLOCK_M], scale * _LOG2_E, tl.float32)
    if k_scales is not None:
        factor *= tl.load(k_scales + kv_head)
        if queries.dtype != tl.float32:
            queries, power = as_half(queries)
            factor *= power
    PAIRS: tl.constexpr = k_pages.dtype.element_ty == tl.int16
    WORDS: tl.constexpr = k_pages.dtype.element_ty == tl.int32
    STORED: tl.constexpr = HEAD_DIM // 2 if PAIRS else HEAD_DIM // 4 if WORDS else HEAD_DIM  # elements per token
    unit = tl.arange(0, STORED)[None, :] if PAIRS or WORDS else dim
    page_stride = kv_heads * PAGE_SIZE * STORED
    k_head = k_pages + kv_head * PAGE_SIZE * STORED
    v_head = v_pages + kv_head * PAGE_SIZE * STORED
    maximum = tl.full([BLOCK_M], LEAST, tl.float32)
    total = tl.full([BLOCK_M], 0.0, tl.float32)
    acc = tl.full([BLOCK_M, BLOCK_D], 0.0, tl.float32)
    queries, odd_queries = split_columns(queries, PAIRS)
    acc, odd_acc = split_columns(acc, PAIRS)
    token = tl.arange(0, BLOCK_N)
    per_place = tl.where(width > 0, 65536 // tl.maximum(width, 1), 0)
    slots += first
    positions += first_row
    tails += first_row
    end = tl.max(last, axis=0)
    # Blocks that start here or later are not visible as a whole to all rows. Earlier ones need no comparison per score,
    # which saves up to 6 % of the time.
    partly_seen = tl.where(width > 0, 0, tl.min(last, axis=0) + 2 - BLOCK_N)
    # Slots are loaded one block ahead of K and V, which depend on them. The first load does not wait for positions.
    first_slot = tl.load(slots)
    slot = slots_of(slots, token, length - 1, end, first_slot, width, per_place, positions, tails)
    most = tl.where(width > 0, length - 1, tl.maximum(end, 0))
    if WORDS:
        offset = ((slot // PAGE_SIZE).to(tl.int64) * page_stride + slot % PAGE_SIZE * STORED)[:, None] + unit
        next_k, next_v = tl.load(k_head + offset), tl.load(v_head + offset)
        slot = slots_of(slots, BLOCK_N + token, most, 1 << 30, first_slot, width, per_place, positions, tails)
    for start in range(0, end + 1, BLOCK_N):
        offset = ((slot // PAGE_SIZE).to(tl.int64) * page_stride + slot % PAGE_SIZE * STORED)[:, None] + unit
        ahead = start + (2 * BLOCK_N if WORDS else BLOCK_N)
        slot = slots_of(slots, ahead + token, most, 1 << 30, first_slot, width, per_place, positions, tails)
        if WORDS:
            k, v = halves_of_words(next_k, BLOCK_N, BLOCK_D), halves_of_words(next_v, BLOCK_N, BLOCK_D)
            is_more = start + BLOCK_N <= end
            next_k, next_v = tl.load(k_head + offset, is_more, 0), tl.load(v_head + offset, is_more, 0)
        else:
            k = tl.load(k_head + offset, inside, nothing)
        scores = scores_of(queries, odd_queries, k, PAIRS)
        if start >= partly_seen:
            number = start + token[None, :]
            is_seen = (number <= last[:, None]) & (last[:, None] <= (number | others))
            scores = tl.where(is_seen, scores, float("-inf"))
        weights, kept, maximum, total = _softmax_step(scores, factor, maximum, total)
        if not WORDS:
            v = tl.load(v_head + offset, inside, nothing)
        acc, odd_acc = with_values(acc, odd_acc, kept, weights.to(queries.dtype), v, PAIRS)

    acc = joined_columns(acc, odd_acc, PAIRS)
    if v_scales is not None:
        acc *= tl.load(v_scales + kv_head)
    # `length` is never negative, but the compiler does not know that, and so recomputes the pairs here. Otherwise it
    # would keep a pointer to every row of the result in registers throughout the loop.
    pair = tl.arange(0, BLOCK_M) + tl.minimum(length, 0)
    row, head = row_and_head(pair, group, kv_head)
    is_pair = pair < rows * group
    stored = is_pair[:, None] & (dim < HEAD_DIM)
    heads = group * kv_heads
    place = (first_row + row).to(tl.int64) * heads + head
    if partial < 0:
        result = (acc / total[:, None]).to(out.dtype.element_ty)
        tl.store(out + place[:, None] * HEAD_DIM + dim, result, stored)
        return
    source = (partial + row).to(tl.int64) * heads + head
    tl.store(partial_acc + source[:, None] * HEAD_DIM + dim, acc, stored)
    tl.store(partial_sums + source * 2, maximum, is_pair)
    tl.store(partial_sums + source * 2 + 1, total, is_pair)
    merge_in_place(
        out, partial_acc, partial_sums, tickets, partials, merges + first_row + row, place, head, heads, is_pair,
        HEAD_DIM, BLOCK_M, BLOCK_D, BLOCK_C, AT_ONCE,
    )  # fmt: skip


def tree_attention(
    arch: Arch,
    tickets: Tickets,
    q: Tensor,
    k_pages: Tensor,
    v_pages: Tensor,
    plan: Plan,
    scale: float,
    scales: KVScales | None = None,
) -> Tensor:
    """Attention along every row's path. See `Kernels.tree_attention`.

    Args:
        arch: GPU architecture, which decides the launch shape.
        tickets: The counters of the current stream.
        q: `[rows, heads, head_dim]`.
        k_pages: `[pages, kv_heads, page_size, head_dim]`.
        v_pages: Same shape as `k_pages`.
        plan: The work. If it has no tiles, its items are cut into tiles here, which waits for the device.
        scale: Factor of the scores, above 0.
        scales: Scales of fp8 pages; None for pages in the dtype of `q`.

    Returns:
        `[rows, heads, head_dim]`; rows that are in no tile are not written.
    """
    rows, heads, head_dim = q.shape
    _, kv_heads, page_size, _ = k_pages.shape
    assert k_pages.shape == v_pages.shape
    assert k_pages.shape[3] == head_dim
    assert k_pages.dtype == v_pages.dtype
    assert (k_pages.dtype == q.dtype) == (scales is None)
    assert heads % kv_heads == 0
    assert scale > 0
    for tensor in (q, k_pages, v_pages):
        assert tensor.is_contiguous()
    group = heads // kv_heads
    tiles = plan.tiles
    if tiles is None:
        tiles = cut(plan, page_size, group, tiling(arch, heads, kv_heads))
    assert len(tiles.merges) == rows + 1 == len(tiles.tails) + 1

    out = torch.empty_like(q)
    partial_acc = torch.empty(len(tiles.partials), heads, head_dim, device=q.device)
    partial_sums = torch.empty(len(tiles.partials), heads, 2, device=q.device)
    block_m, block_d = block_of_rows(tiles.rows, group), _padded(head_dim)
    shape = attention_shape(arch, block_m, block_d, q.dtype, k_pages.dtype)
    k_scales, v_scales = (None, None) if scales is None else scales
    if q.dtype != torch.float32 and head_dim == block_d:
        stored = held_in(arch, k_pages.dtype, block_m, block_d)
        k_pages, v_pages = k_pages.view(stored), v_pages.view(stored)
    if len(tiles.tiles):
        _attend[(len(tiles.tiles) * kv_heads,)](
            out, partial_acc, partial_sums, tickets.take(rows * heads, q.device), q, k_pages, v_pages, k_scales,
            v_scales, plan.positions, tiles.tails, tiles.tiles, tiles.slots, tiles.partials, tiles.merges, scale, group,
            kv_heads, head_dim, page_size, block_m, shape.tokens, block_d,
            *merge_shape(shape.warps, block_m, block_d), num_warps=shape.warps, num_stages=shape.stages,
        )  # fmt: skip
    return out


def _padded(head_dim: int) -> int:
    """Width of a block that holds a head: a power of two, at least the 16 that tensor cores need."""
    return max(16, 1 << (head_dim - 1).bit_length())


def tree_attention_variants(arch: Arch) -> Iterator[Variant]:
    """Every binary that `tree_attention` launches in 16 bits for heads of 64 and 128, whatever their number."""
    for dtype in (torch.float16, torch.bfloat16):
        for head_dim in (64, 128):
            for pages in (dtype, fp8_dtype(arch)):
                for block_m in BLOCKS_OF_ROWS:
                    yield _variant(arch, dtype, pages, head_dim, block_m)


def _variant(arch: Arch, dtype: torch.dtype, pages: torch.dtype, head_dim: int, block_m: int) -> Variant:
    shape = attention_shape(arch, block_m, _padded(head_dim), dtype, pages)
    stored = held_in(arch, pages, block_m, _padded(head_dim))
    tensors = dict.fromkeys(("out", "q"), pointer_to(dtype)) | dict.fromkeys(("k_pages", "v_pages"), pointer_to(stored))
    tensors |= dict.fromkeys(("partial_acc", "partial_sums"), "*fp32")
    tables = ("tickets", "positions", "tails", "tiles", "slots", "partials", "merges")
    tensors |= dict.fromkeys(tables, "*i32")
    merged = merge_shape(shape.warps, block_m, _padded(head_dim))
    constants: dict[str, object] = {
        "HEAD_DIM": head_dim,
        "PAGE_SIZE": PAGE_SIZE,
        "BLOCK_M": block_m,
        "BLOCK_N": shape.tokens,
        "BLOCK_D": _padded(head_dim),
        "BLOCK_C": merged.columns,
        "AT_ONCE": merged.at_once,
    }
    if pages == dtype:
        constants |= {"k_scales": None, "v_scales": None}
    else:
        tensors |= {"k_scales": "*fp32", "v_scales": "*fp32"}
    signature = tensors | {"scale": "fp32", "group": "i32", "kv_heads": "i32"}
    kinds = " ".join(dict.fromkeys((pointer_to(dtype)[1:], pointer_to(pages)[1:])))
    name = f"tree_attention {kinds} d{head_dim} m{block_m}"
    return Variant(name, _attend, signature, constants, shape.warps, shape.stages, tuple(tensors))
