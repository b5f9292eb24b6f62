"""The LM head: logits are looked at in the registers that they are computed in, once, for everything that is wanted.

A thread block takes some rows and every n-th tile of the vocabulary. It keeps running sums of exponentials, the best
`k` tokens and the best draw of each row; `lm_head_merge` puts together what the blocks have found.

Thread blocks tell each other the best key that they have seen of a row, by atomic maxima over `k` groups of blocks. As
each group has seen a token of its own, the smallest of the groups' maxima is at most the row's k-th best key, and
nothing below it matters. So after the first tiles hardly a token enters a list, and at the end about `k ln k`
candidates of a row leave the registers instead of `k` per block. What the blocks know of each other depends on time;
the result does not.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..ops import MAX_TOP_K, Draw, HeadTopK
from .arch import Arch
from .block_codes import CodeFormat
from .code_variants import code_arguments, code_formats, code_name
from .linear import activations
from .lm_head_key import NEVER, bound_of, key_of
from .lm_head_merge import Partial, merge, merge_variants
from .lm_head_shape import BLOCK_V, DENSE, HeadShape, blocks_of_rows, head_shape
from .packed_linear import QuantizedSection, Section, TritonLinear
from .philox import gumbel_noise
from .variant import Variant, pointer_to
from .weight_tile import dense_tile, quantized_tile

_LOG2E = tl.constexpr(1.4426950408889634)
_LN2 = tl.constexpr(0.6931471805599453)
_NO_TOKEN = tl.constexpr(0x7FFFFFFF)


@triton.jit
def _first(is_it, token):
    """The lowest token of each row where `is_it` (`[rows, tokens]`) holds."""
    return tl.min(tl.where(is_it, token[None, :], _NO_TOKEN), axis=1)


@triton.jit
def _best(logits, token):
    """The largest key of each row of `logits` (`[rows, tokens]`), 0 where all are -inf; and its token."""
    largest = tl.max(logits, axis=1)
    first = _first(logits == largest[:, None], token)
    return tl.where(largest == float("-inf"), 0, key_of(largest, first)), first


@triton.jit
def _bound(bounds, row, rows, k, LIST: tl.constexpr):
    """A key that nothing below matters. Read past the L1 cache, where others' maxima would not show."""
    group = tl.arange(0, LIST)[None, :]
    place = bounds + tl.minimum(row, rows - 1)[:, None] * k + group
    least = tl.min(tl.load(place, group < k, 0x7FFFFFFF, cache_modifier=".cg"), axis=1)
    return least.to(tl.int64) << 32


@triton.jit(
    do_not_specialize=[
        *("rows", "k", "first_token", "slot", "slots", "shards", "row_blocks", "has_targets", "has_draw"),
    ]
)
def _shard(
    candidates,
    counts,
    sums,
    scaled_sums,
    scores,
    drawn,
    target_logits,
    bounds,
    hidden,
    matrix,
    scales,
    minimums,
    supers,
    super_minimums,
    targets,
    temperatures,
    keys,
    positions,
    rows,
    outs,
    columns,
    stride,
    k,
    first_token,
    slot,
    slots,
    shards,
    row_blocks,
    has_targets,
    has_draw,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    CENTRE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    LIST: tl.constexpr,
):
    """Some rows, and every `shards`-th tile of the `outs` tokens from `first_token` on."""
    shard = tl.program_id(0) // row_blocks
    first_row = tl.program_id(0) % row_blocks * BLOCK_M
    maximum = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    scaled_total = tl.zeros([BLOCK_M], tl.float32)
    best_score = tl.full([BLOCK_M], float("-inf"), tl.float32)
    entry = tl.arange(0, LIST)[:, None]
    best = tl.where(entry < k, entry.to(tl.int64), NEVER) + tl.zeros([LIST, BLOCK_M], tl.int64)

    # Tiles begin at multiples of their size, also where a section of the vocabulary does not.
    for tile in range(first_token // BLOCK_V + shard, tl.cdiv(first_token + outs, BLOCK_V), shards):
        # The shift gives 0, which the compiler does not know: what follows from the rows is computed when it is used,
        # instead of waiting in registers through all tiles.
        row = first_row + (tile >> 30) + tl.arange(0, BLOCK_M)
        is_row = row < rows
        place = row * slots + slot + shard
        token = tile * BLOCK_V + tl.arange(0, BLOCK_V)
        out = token - first_token
        is_out = (out >= 0) & (out < outs)
        out = tl.minimum(tl.maximum(out, 0), outs - 1)
        if BITS == 16:
            logits = dense_tile(matrix, hidden, out, row, rows, columns, stride, BLOCK_K)
        else:
            logits = quantized_tile(
                matrix, scales, minimums, supers, super_minimums, hidden, out, row, rows, outs, columns, stride,
                0, columns, BITS, GROUP, CENTRE, BLOCK_K, True,
            )  # fmt: skip
        logits = tl.where(is_out[None, :], logits, float("-inf"))

        highest = tl.max(logits, axis=1)
        tl.atomic_max(bounds + row * k + shard % k, bound_of(highest), is_row, sem="relaxed")
        largest = tl.maximum(maximum, highest)
        total = total * tl.exp2((maximum - largest) * _LOG2E)
        total += tl.sum(tl.exp2((logits - largest[:, None]) * _LOG2E), axis=1)
        if has_targets:
            target = tl.load(targets + row, is_row, -1)
            is_target = (token[None, :] == target[:, None]) & is_out[None, :]
            is_here = tl.max(is_target.to(tl.int32), axis=1) > 0
            tl.store(target_logits + row, tl.sum(tl.where(is_target, logits, 0.0), axis=1), is_row & is_here)
        if has_draw:
            temperature = tl.load(temperatures + row, is_row, 1.0)
            inverse = 1.0 / tl.where(temperature > 0, temperature, 1.0)
            factor = inverse * _LOG2E
            scaled_total = scaled_total * tl.exp2((maximum - largest) * factor)
            scaled_total += tl.sum(tl.exp2((logits - largest[:, None]) * factor[:, None]), axis=1)
            key, position = tl.load(keys + row, is_row, 0), tl.load(positions + row, is_row, 0)
            noise = gumbel_noise(key, position, tile * BLOCK_V, BLOCK_V)
            score = logits * inverse[:, None] + noise
            highest = tl.max(score, axis=1)
            winner = _first(score == highest[:, None], token)
            is_better = is_row & (highest > best_score)
            logit = tl.sum(tl.where(token[None, :] == winner[:, None], logits, 0.0), axis=1)
            tl.store(drawn + place * 2, winner, is_better)
            tl.store(drawn + place * 2 + 1, logit.to(tl.int32, bitcast=True), is_better)
            best_score = tl.maximum(best_score, highest)
        maximum = largest

        bound = _bound(bounds, row, rows, k, LIST) - 1
        goes_on = True
        while goes_on:
            key, winner = _best(logits, token)
            worst = tl.min(best, axis=0)
            enters = is_row & (key > tl.maximum(worst, bound))
            best = tl.where(enters[None, :] & (best == worst[None, :]), key[None, :], best)
            logits = tl.where(token[None, :] == winner[:, None], float("-inf"), logits)
            goes_on = tl.max(enters.to(tl.int32), axis=0) > 0

    row = first_row + tl.arange(0, BLOCK_M)
    is_row = row < rows
    place = row * slots + slot + shard
    tl.store(sums + place, maximum + tl.log2(total) * _LN2, is_row)
    if has_draw:
        temperature = tl.load(temperatures + row, is_row, 1.0)
        inverse = 1.0 / tl.where(temperature > 0, temperature, 1.0)
        tl.store(scaled_sums + place, maximum * inverse + tl.log2(scaled_total) * _LN2, is_row)
        tl.store(scores + place, best_score, is_row)
    bound = tl.maximum(_bound(bounds, row, rows, k, LIST), LIST)
    leaves = (best >= bound[None, :]) & (entry < k) & is_row[None, :]
    amount = tl.sum(leaves.to(tl.int32), axis=0)
    start = tl.atomic_add(counts + row, amount, is_row & (amount > 0), sem="relaxed")
    number = tl.cumsum(leaves.to(tl.int32), axis=0) - 1 + start[None, :]
    tl.store(candidates + row.to(tl.int64)[None, :] * slots * k + number, best, leaves)


def lm_head_topk(
    arch: Arch,
    hidden: Tensor,
    weight: TritonLinear,
    k: int,
    targets: Tensor | None = None,
    draw: Draw | None = None,
    invariant: bool = False,
) -> HeadTopK:
    """LM head, log-sum-exp, top-k, targets and draw. See `Kernels.lm_head_topk`.

    Args:
        arch: Whose tiles are used.
        hidden: `[rows, hidden]`.
        weight: `[vocab, hidden]`.
        k: How many of the best tokens are wanted.
        targets: `[rows]` int64, or None.
        draw: Parameters of the draw, or None.
        invariant: Whether a row's results have the same bits in every company.
    """
    rows, device = len(hidden), hidden.device
    assert hidden.shape[1] == weight.in_features
    assert hidden.dtype == weight.dtype
    assert 1 <= k <= min(MAX_TOP_K, weight.out_features)
    head = _room(rows, k, targets is not None, draw is not None, device)
    if rows == 0:
        return head
    hidden = hidden if hidden.stride(1) == 1 else hidden.contiguous()
    targets = None if targets is None else targets.contiguous()
    draw = None if draw is None else Draw(*(field.contiguous() for field in draw))
    shapes = [
        head_shape(arch, _format(section), rows, first, section.rows, k, weight.dtype, invariant)
        for first, section in weight.placed()
    ]
    partial = Partial.empty(rows, k, sum(shape.shards for shape in shapes), draw is not None, device)
    bounds = torch.zeros(rows, k, dtype=torch.int32, device=device)
    slot = 0
    for (first, section), shape in zip(weight.placed(), shapes, strict=True):
        x = activations(hidden, section)
        _launch(head, partial, bounds, x, section, targets, draw, k, first, slot, shape)
        slot += shape.shards
    merge(head, partial, k)
    return head


def _format(section: Section) -> CodeFormat:
    return section.format if isinstance(section, QuantizedSection) else DENSE


def _room(rows: int, k: int, has_targets: bool, has_draw: bool, device: torch.device) -> HeadTopK:
    def numbers() -> Tensor:
        return torch.empty(rows, device=device)

    def ids(*shape: int) -> Tensor:
        return torch.empty(*shape, dtype=torch.int64, device=device)

    return HeadTopK(
        ids(rows, k),
        torch.empty(rows, k, device=device),
        numbers(),
        numbers() if has_targets else None,
        ids(rows) if has_draw else None,
        numbers() if has_draw else None,
        numbers() if has_draw else None,
    )


def _launch(
    head: HeadTopK,
    partial: Partial,
    bounds: Tensor,
    hidden: Tensor,
    section: Section,
    targets: Tensor | None,
    draw: Draw | None,
    k: int,
    first: int,
    slot: int,
    shape: HeadShape,
) -> None:
    """One section of the vocabulary. Where something is not wanted, a tensor of the same type takes its place."""
    rows, slots = partial.sums.shape
    of_draw = (partial.scaled_sums, partial.scores, partial.drawn)
    if partial.drawn is None:
        of_draw = (partial.sums, partial.sums, partial.counts)
    out = (partial.candidates, partial.counts, partial.sums, *of_draw)
    target_logits = partial.sums if head.target_logits is None else head.target_logits
    wishes = (partial.sums, partial.candidates, partial.candidates) if draw is None else draw
    format = _format(section)
    weight = section.tensors if isinstance(section, QuantizedSection) else (section.matrix, None, None, None, None)
    _shard[shape.shards * shape.row_blocks,](
        *out, target_logits, bounds, hidden, *weight, partial.candidates if targets is None else targets, *wishes,
        rows, section.rows, hidden.shape[1], hidden.stride(0), k, first, slot, slots, shape.shards, shape.row_blocks,
        int(targets is not None), int(draw is not None),
        BITS=format.bits, GROUP=format.group, CENTRE=format.centre,
        BLOCK_M=shape.rows, BLOCK_V=BLOCK_V, BLOCK_K=shape.columns, LIST=shape.list,
        num_warps=shape.warps, num_stages=shape.stages,
    )  # fmt: skip


def lm_head_variants(arch: Arch) -> Iterator[Variant]:
    """Every binary that `lm_head_topk` launches in 16 bits for hidden sizes that are multiples of 16."""
    for dtype in (torch.float16, torch.bfloat16):
        for format in (DENSE, *code_formats()):
            for block_m in blocks_of_rows(format, dtype):
                yield _variant(arch, dtype, format, block_m)
    yield from merge_variants()


def _variant(arch: Arch, dtype: torch.dtype, format: CodeFormat, block_m: int) -> Variant:
    shape = head_shape(arch, format, block_m, 0, BLOCK_V, 1, dtype)
    x = pointer_to(dtype)
    if format == DENSE:
        weight: dict[str, str] = {"matrix": x}
        constants: dict[str, object] = {"BITS": format.bits, "GROUP": format.group, "CENTRE": format.centre}
        constants |= dict.fromkeys(("scales", "minimums", "supers", "super_minimums"))
    else:
        weight, constants = code_arguments(format)
        weight["matrix"] = weight.pop("codes")
    floats = ("sums", "scaled_sums", "scores", "target_logits", "temperatures")
    longs = ("candidates", "targets", "keys", "positions")
    tensors = dict.fromkeys(floats, "*fp32") | dict.fromkeys(longs, "*i64")
    tensors |= dict.fromkeys(("counts", "drawn", "bounds"), "*i32")
    tensors |= {"hidden": x} | weight
    sizes = ("outs", "columns", "stride")
    numbers = ("rows", "k", "first_token", "slot", "slots", "shards", "row_blocks", "has_targets", "has_draw")
    constants |= {"BLOCK_M": shape.rows, "BLOCK_V": BLOCK_V, "BLOCK_K": shape.columns, "LIST": shape.list}
    kind = "dense" if format == DENSE else code_name(format)
    name = f"lm_head_topk {x[1:]} {kind} m{block_m}"
    signature = tensors | dict.fromkeys((*sizes, *numbers), "i32")
    return Variant(name, _shard, signature, constants, shape.warps, shape.stages, (*tensors, *sizes))
