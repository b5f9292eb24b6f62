"""What the thread blocks of the LM head have found out about a row, put together."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from collections.abc import Iterator
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..ops import MAX_TOP_K, HeadTopK
from .lm_head_key import NEVER, key_of, logit_of, token_of
from .variant import Variant

_LOG2E = tl.constexpr(1.4426950408889634)
_LN2 = tl.constexpr(0.6931471805599453)

_AT_ONCE = 256
"""Partial results that are read at once."""


@triton.jit
def _log_sum_exp(parts, count, BLOCK: tl.constexpr):
    """Of `count` values, added up in their order a block at a time."""
    largest = float("-inf")
    total = 0.0
    for start in range(0, count, BLOCK):
        lane = start + tl.arange(0, BLOCK)
        part = tl.load(parts + lane, lane < count, float("-inf"))
        new = tl.maximum(largest, tl.max(part, axis=0))
        total = total * tl.exp2((largest - new) * _LOG2E) + tl.sum(tl.exp2((part - new) * _LOG2E), axis=0)
        largest = new
    return largest + tl.log2(total) * _LN2


@triton.jit(do_not_specialize=["k", "slots"])
def _merge(
    top_ids,
    top_logits,
    lse,
    drawn_ids,
    drawn_logits,
    scaled_lse,
    candidates,
    counts,
    sums,
    scaled_sums,
    scores,
    drawn,
    k,
    slots,
    LIST: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One row: its best tokens in order, its sums of exponentials, its draw."""
    row = tl.program_id(0).to(tl.int64)
    entry, lane = tl.arange(0, LIST), tl.arange(0, BLOCK)
    best = tl.where(entry < k, entry.to(tl.int64), NEVER)
    count = tl.load(counts + row)
    for start in range(0, count, BLOCK):
        key = tl.load(candidates + row * slots * k + start + lane, start + lane < count, 0)
        top, worst = tl.max(key, axis=0), tl.min(best, axis=0)
        while top > worst:
            best = tl.where(best == worst, top, best)
            key = tl.where(key == top, 0, key)
            top, worst = tl.max(key, axis=0), tl.min(best, axis=0)
    best = tl.where(entry < k, best, 0)
    for number in range(k):
        top = tl.max(best, axis=0)
        tl.store(top_ids + row * k + number, token_of(top))
        tl.store(top_logits + row * k + number, logit_of(top))
        best = tl.where(best == top, 0, best)

    tl.store(lse + row, _log_sum_exp(sums + row * slots, slots, BLOCK))
    if drawn_ids is not None:
        tl.store(scaled_lse + row, _log_sum_exp(scaled_sums + row * slots, slots, BLOCK))
        winner = tl.zeros([], tl.int64)
        logit = tl.zeros([], tl.int32)
        for start in range(0, slots, BLOCK):
            place = row * slots + start + lane
            is_slot = start + lane < slots
            score = tl.load(scores + place, is_slot, 0.0)
            key = tl.where(is_slot, key_of(score, tl.load(drawn + place * 2, is_slot, 0)), 0)
            top = tl.max(key, axis=0)
            bits = tl.sum(tl.load(drawn + place * 2 + 1, is_slot & (key == top), 0), axis=0)
            logit = tl.where(top > winner, bits, logit)
            winner = tl.maximum(top, winner)
        tl.store(drawn_ids + row, token_of(winner))
        tl.store(drawn_logits + row, logit.to(tl.float32, bitcast=True))


class Partial(NamedTuple):
    """What the thread blocks of a launch write. A slot is one of them among those with the same rows.

    Attributes:
        candidates: `[rows, slots * k]` int64 keys of tokens that may be among the best `k`, in any order.
        counts: `[rows]` int32, how many of them there are.
        sums: `[rows, slots]` fp32, log-sum-exp of the slot's logits.
        scaled_sums: Same of logits / temperature, or None without a draw.
        scores: `[rows, slots]` fp32, the largest logit / temperature + noise, or None.
        drawn: `[rows, slots, 2]` int32, its token and the bits of its logit, or None.
    """

    candidates: Tensor
    counts: Tensor
    sums: Tensor
    scaled_sums: Tensor | None
    scores: Tensor | None
    drawn: Tensor | None

    @staticmethod
    def empty(rows: int, k: int, slots: int, has_draw: bool, device: torch.device) -> Partial:
        """Room for `slots` thread blocks."""
        candidates = torch.empty(rows, slots * k, dtype=torch.int64, device=device)
        counts = torch.zeros(rows, dtype=torch.int32, device=device)
        sums = torch.empty(rows, slots, device=device)
        if not has_draw:
            return Partial(candidates, counts, sums, None, None, None)
        drawn = torch.empty(rows, slots, 2, dtype=torch.int32, device=device)
        return Partial(candidates, counts, sums, torch.empty_like(sums), torch.empty_like(sums), drawn)


def merge(head: HeadTopK, partial: Partial, k: int) -> None:
    """Write all of `head` but its targets."""
    rows, slots = partial.sums.shape
    results = (head.top_ids, head.top_logits, head.lse, head.drawn_ids, head.drawn_logits, head.scaled_lse)
    _merge[rows,](*results, *partial, k, slots, LIST=MAX_TOP_K, BLOCK=_AT_ONCE, num_warps=4)


def merge_variants() -> Iterator[Variant]:
    """Every binary that `merge` launches."""
    results = {"top_ids": "*i64", "top_logits": "*fp32", "lse": "*fp32"}
    partial = {"candidates": "*i64", "counts": "*i32", "sums": "*fp32"}
    with_draw = {"drawn_ids": "*i64", "drawn_logits": "*fp32", "scaled_lse": "*fp32"}
    with_draw |= {"scaled_sums": "*fp32", "scores": "*fp32", "drawn": "*i32"}
    for has_draw in (False, True):
        tensors = results | partial | (with_draw if has_draw else {})
        constants: dict[str, object] = {"LIST": MAX_TOP_K, "BLOCK": _AT_ONCE}
        constants |= {} if has_draw else dict.fromkeys(with_draw)
        name = f"lm_head_topk merge{' draw' if has_draw else ''}"
        yield Variant(name, _merge, tensors | {"k": "i32", "slots": "i32"}, constants, 4, 3, tuple(tensors))
