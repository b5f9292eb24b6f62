"""Merges the results of a row's tiles into its log-sum-exp, its best `k` tokens and its draw.

The best `k` tokens lie in the `k` tiles with the largest maxima, and none of them is below the smallest of these
maxima. So few tokens pass this test that the merge can rank them by comparing each with every other.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from collections.abc import Iterator
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...sampling import Draw, HeadTopK
from ..arch import Arch
from ..linear.weight_tile import dense_tile
from ..variant import Variant, pointer_to
from .draw import best_of_tile, column_of_token, token_of_column
from .key import NO_TOKEN, key_of, kth_largest, logit_of, next_best, token_of
from .partial import Partial
from .shape import CHOSEN, TILE

_LOG2E = tl.constexpr(1.4426950408889634)
_LN2 = tl.constexpr(0.6931471805599453)

_SHARDS = 256
"""Number of shards whose sums are read at once."""

_MAXIMA = 2048
"""Number of tile maxima compared at once: enough for 262,144 tokens. A larger vocabulary gets its own binary."""

_GROUPS = tl.constexpr(256)
"""Number of groups of tiles whose maxima give a cheap bound; at least `MAX_TOP_K`."""

_AT_ONCE = tl.constexpr(32)
"""Number of tiles read at once, and of tokens that all others are compared with at once."""

_COLUMNS = tl.constexpr(64)
"""Columns per loop iteration when logits are recomputed."""

_WARPS = 8


@triton.jit
def _log_sum_exp(parts, count, SHARDS: tl.constexpr):
    """Combine `count` partial log-sum-exps in order, `SHARDS` at a time."""
    largest = float("-inf")
    total = 0.0
    for start in range(0, count, SHARDS):
        lane = start + tl.arange(0, SHARDS)
        part = tl.load(parts + lane, lane < count, float("-inf"))
        new = tl.maximum(largest, tl.max(part, axis=0))
        total = total * tl.exp2((largest - new) * _LOG2E) + tl.sum(tl.exp2((part - new) * _LOG2E), axis=0)
        largest = new
    return largest + tl.log2(total) * _LN2


@triton.jit
def _choose(chosen, maxima, tiles, k, is_exact, MAXIMA: tl.constexpr, CHOSEN: tl.constexpr):
    """Write the indices of the tiles that hold the best tokens; return their count and a lower bound of these logits.

    With `is_exact`, or if more than `CHOSEN` tiles pass the cheap bound, these are the `k` tiles with the largest
    maxima. Otherwise there may be a few more.
    """
    tile = tl.arange(0, MAXIMA)
    is_tile = tile < tiles
    values = tl.load(maxima + tile, is_tile, float("-inf"))
    groups = tl.max(tl.max(tl.reshape(values, [MAXIMA // (4 * _GROUPS), _GROUPS, 4]), axis=2), axis=0)
    bound = kth_largest(groups, k)
    stays = is_tile & (values >= bound)
    count = tl.sum(stays.to(tl.int32), axis=0)
    if is_exact | (count > CHOSEN):
        count = 0
        bound = float("inf")
        last = -1
        for _ in range(k):
            value, last = next_best(values, tile, is_tile, bound, last)
            if last != NO_TOKEN:
                bound = value
                tl.store(chosen + count, last)
                count += 1
    else:
        tl.store(chosen + tl.cumsum(stays.to(tl.int32), axis=0) - 1, tile, stays)
    tl.debug_barrier()
    return count, bound


@triton.jit
def _compute_again(
    logits, places, tokens, tile, place, row, hidden, matrix, rows, outs, columns, stride, TILE: tl.constexpr
):  # fmt: skip
    """Recompute the logits of a tile that there was no room for, and store them at `place`."""
    token = tl.load(tokens + tile) + token_of_column(tl.arange(0, TILE))
    same = row.to(tl.int32) + tl.zeros([16], tl.int32)
    product = dense_tile(matrix, hidden, tl.minimum(token, outs - 1), same, rows, columns, stride, _COLUMNS)
    product = tl.where(token < outs, tl.max(product, axis=0), float("-inf"))
    tl.store(logits + place * TILE + tl.arange(0, TILE), product)
    tl.store(places + tile, place)
    tl.debug_barrier()


@triton.jit
def _keys(logits, places, tokens, chosen, start, count, bound, TILE: tl.constexpr):
    """Keys of the tokens of some chosen tiles, 0 for tokens below the bound: `[_AT_ONCE, TILE]`."""
    number = start + tl.arange(0, _AT_ONCE)
    is_there = number < count
    tile = tl.load(chosen + number, is_there, 0)
    place = tl.load(places + tile, is_there, -1)
    is_there = place >= 0  # other tiles were not stored, because they are below the bound from the sample
    column = tl.arange(0, TILE)
    logit = tl.load(logits + place[:, None] * TILE + column[None, :], is_there[:, None], float("-inf"))
    token = tl.load(tokens + tile, is_there, 0)[:, None] + token_of_column(column)[None, :]
    return tl.where((logit >= bound) & (logit > float("-inf")), key_of(logit, token), 0)


@triton.jit
def _best(
    top_ids, top_logits, logits, places, tokens, chosen, kept, count, bound, k, TILE: tl.constexpr, CHOSEN: tl.constexpr
):  # fmt: skip
    """Write the best `k` tokens of the chosen tiles, best first."""
    total = tl.zeros([], tl.int32)
    for start in range(0, count, _AT_ONCE):
        key = _keys(logits, places, tokens, chosen, start, count, bound, TILE)
        stays = (key > 0).to(tl.int32)
        amount = tl.sum(stays, axis=1)
        number = total + (tl.cumsum(amount, axis=0) - amount)[:, None] + tl.cumsum(stays, axis=1) - 1
        tl.store(kept + number, key, (stays > 0) & (number < CHOSEN))
        total += tl.sum(amount, axis=0)
    tl.debug_barrier()
    if total <= CHOSEN:
        lane = tl.arange(0, CHOSEN)
        key = tl.load(kept + lane, lane < total, 0)
        rank = tl.where(lane < total, 0, lane)
        for start in range(0, total, _AT_ONCE):
            other = start + tl.arange(0, _AT_ONCE)
            others = tl.load(kept + other, other < total, 0)
            rank += tl.sum(((others[None, :] > key[:, None]) & (lane < total)[:, None]).to(tl.int32), axis=1)
        tl.store(top_ids + rank, token_of(key), rank < k)
        tl.store(top_logits + rank, logit_of(key), rank < k)
    else:
        last = tl.full([], 2**63 - 1, tl.int64)
        for number in range(k):
            top = tl.zeros([], tl.int64)
            for start in range(0, count, _AT_ONCE):
                key = _keys(logits, places, tokens, chosen, start, count, bound, TILE)
                top = tl.maximum(top, tl.max(tl.max(tl.where(key < last, key, 0), axis=1), axis=0))
            tl.store(top_ids + number, token_of(top))
            tl.store(top_logits + number, logit_of(top))
            last = top


@triton.jit
def _logit_of_target(logits, places, tokens, tiles, target, MAXIMA: tl.constexpr, TILE: tl.constexpr):
    """Return the logit of the target.

    If two sections of the vocabulary meet in a tile, each has a copy of it, with -inf for the tokens of the other.
    """
    tile = tl.arange(0, MAXIMA)
    has_target = (tile < tiles) & (tl.load(tokens + tile, tile < tiles, -1) == target // TILE * TILE)
    place = tl.load(places + tile, has_target, 0)
    found = tl.load(logits + place * TILE + column_of_token(target % TILE), has_target, float("-inf"))
    return tl.max(found, axis=0)


@triton.jit
def _draw(
    promises, logits, places, tokens, tiles, spare, row, inverse, key, position, is_full,
    hidden, matrix, rows, outs, columns, stride, MAXIMA: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Return the drawn token and its logit.

    The tiles are searched from the highest upper bound (`promises`) down, until none can exceed the best score found.
    """
    tile = tl.arange(0, MAXIMA)
    is_tile = tile < tiles
    promised = tl.load(promises + tile, is_tile, float("-inf"))
    score = float("-inf")
    winner = NO_TOKEN + 0 * tiles
    logit = 0.0
    column = tl.arange(0, TILE)
    promise, most = next_best(promised, tile, is_tile, float("inf"), -1)
    while (promise >= score) & (most != NO_TOKEN):
        if matrix is not None:  # noqa: SIM102 - a constant decides whether there is code
            if is_full & (tl.load(places + most) < 0):
                _compute_again(
                    logits, places, tokens, most, spare, row, hidden, matrix, rows, outs, columns, stride, TILE
                )  # fmt: skip
        values = tl.load(logits + tl.load(places + most) * TILE + column)
        token = tl.load(tokens + most) + token_of_column(column)
        here, winner_here, logit_here = best_of_tile(values, token, inverse, key, position)
        if (here > score) | ((here == score) & (winner_here < winner)):
            score = here
            winner = winner_here
            logit = logit_here
        if matrix is not None:  # noqa: SIM102 - a constant decides whether there is code
            if is_full & (tl.load(places + most) == spare):
                tl.debug_barrier()
                tl.store(places + most, -1)
                tl.debug_barrier()
        promise, most = next_best(promised, tile, is_tile, promise, most)
    return winner.to(tl.int64), logit


@triton.jit(do_not_specialize=["rows", "k", "tiles", "shards", "capacity", "room", "has_targets", "has_draw"])
def _merge(
    top_ids,
    top_logits,
    lse,
    drawn_ids,
    drawn_logits,
    scaled_lse,
    target_logits,
    logits,
    maxima,
    places,
    tokens,
    promises,
    sums,
    scaled_sums,
    counts,
    chosen,
    targets,
    temperatures,
    keys,
    positions,
    hidden,
    matrix,
    rows,
    outs,
    columns,
    stride,
    k,
    tiles,
    shards,
    capacity,
    room,
    has_targets,
    has_draw,
    MAXIMA: tl.constexpr,
    SHARDS: tl.constexpr,
    CHOSEN: tl.constexpr,
    TILE: tl.constexpr,
):
    """Merge one row: its best tokens in order, its log-sum-exps and its draw. `room` is 0 if there was no bound."""
    row = tl.program_id(0).to(tl.int64)
    logits += row * capacity * TILE
    places += row * tiles
    chosen += row * 2 * CHOSEN
    is_full = False
    if matrix is not None:
        is_full = tl.load(counts + row) > room
    count, bound = _choose(chosen, maxima + row * tiles, tiles, k, is_full, MAXIMA, CHOSEN)
    if matrix is not None:  # noqa: SIM102 - a constant decides whether there is code
        if is_full:
            for number in range(count):
                tile = tl.load(chosen + number)
                if tl.load(places + tile) < 0:
                    _compute_again(
                        logits, places, tokens, tile, room + number, row, hidden, matrix, rows, outs, columns, stride,
                        TILE,
                    )  # fmt: skip
    _best(
        top_ids + row * k, top_logits + row * k, logits, places, tokens, chosen, chosen + CHOSEN, count, bound, k,
        TILE, CHOSEN,
    )  # fmt: skip
    if has_targets != 0:
        target = tl.load(targets + row).to(tl.int32)
        tl.store(target_logits + row, _logit_of_target(logits, places, tokens, tiles, target, MAXIMA, TILE))
    tl.store(lse + row, _log_sum_exp(sums + row * shards, shards, SHARDS))
    if has_draw != 0:
        winner = tl.zeros([], tl.int64)
        logit = 0.0
        scaled = float("-inf")
        temperature = tl.load(temperatures + row)
        if temperature > 0:
            scaled = _log_sum_exp(scaled_sums + row * shards, shards, SHARDS)
            winner, logit = _draw(
                promises + row * tiles, logits, places, tokens, tiles, room + k, row, 1.0 / temperature,
                tl.load(keys + row), tl.load(positions + row), is_full,
                hidden, matrix, rows, outs, columns, stride, MAXIMA, TILE,
            )  # fmt: skip
        tl.store(scaled_lse + row, scaled)
        tl.store(drawn_ids + row, winner)
        tl.store(drawn_logits + row, logit)


class Again(NamedTuple):
    """What the merge needs to recompute tiles that were above the bound, but for which there was no room.

    Attributes:
        hidden: `[rows, columns]`.
        matrix: `[vocab, columns]`.
        room: Number of tiles that there was room for in each row.
    """

    hidden: Tensor
    matrix: Tensor
    room: int


def merge(
    arch: Arch,
    head: HeadTopK,
    partial: Partial,
    k: int,
    targets: Tensor | None,
    draw: Draw | None,
    again: Again | None = None,
) -> None:
    """Merge the results of all tiles and write every field of `head`.

    Args:
        arch: GPU architecture, on which the register limit depends.
        head: Receives the results.
        partial: The results of all tiles.
        k: How many of the best tokens are wanted.
        targets: `[rows]` int64, tokens whose logits are wanted, or None.
        draw: Parameters of the draw, or None.
        again: What to recompute tiles from if a bound limited what was stored, or None if all tiles are stored.
    """
    rows, tiles = partial.maxima.shape
    # A tensor of the same type stands in for whatever is not wanted.
    target_logits = head.lse if head.target_logits is None else head.target_logits
    drawn = (head.top_ids, head.lse, head.lse)
    if head.drawn_ids is not None and head.drawn_logits is not None and head.scaled_lse is not None:
        drawn = (head.drawn_ids, head.drawn_logits, head.scaled_lse)
    promises, scaled_sums = partial.promises, partial.scaled_sums
    if promises is None:
        promises, scaled_sums = partial.maxima, partial.sums
    draws = (partial.sums, partial.chosen, partial.chosen) if draw is None else draw
    hidden, matrix, room = (None, None, 0) if again is None else again
    outs, columns, stride = (0, 0, 0) if again is None else (*again.matrix.shape, again.hidden.stride(0))
    limit = {} if _registers(arch) is None else {"maxnreg": _registers(arch)}
    _merge[rows,](
        head.top_ids, head.top_logits, head.lse, *drawn, target_logits,
        partial.logits, partial.maxima, partial.places, partial.tokens, promises, partial.sums, scaled_sums,
        partial.counts, partial.chosen, partial.chosen if targets is None else targets, *draws,
        hidden, matrix, rows, outs, columns, stride, k, tiles, partial.sums.shape[1], partial.logits.shape[1], room,
        int(targets is not None), int(draw is not None),
        MAXIMA=max(_MAXIMA, triton.next_power_of_2(tiles)), SHARDS=_SHARDS, CHOSEN=CHOSEN, TILE=TILE, num_warps=_WARPS,
        **limit,
    )  # fmt: skip


def _registers(arch: Arch) -> int | None:
    """Maximum registers per thread, or None for the compiler's own limit; all 255 where that limit causes spills."""
    return 255 if arch.backend == "cuda" and arch.name not in ("sm_90", "sm_100") else None


def merge_variants(arch: Arch) -> Iterator[Variant]:
    """Every binary that `merge` launches for a vocabulary of up to 262,144 tokens."""
    floats = ("top_logits", "lse", "drawn_logits", "scaled_lse", "target_logits", "logits", "maxima", "promises")
    longs = ("top_ids", "drawn_ids", "chosen", "targets", "keys", "positions")
    known = dict.fromkeys((*floats, "sums", "scaled_sums", "temperatures"), "*fp32") | dict.fromkeys(longs, "*i64")
    known |= dict.fromkeys(("places", "tokens", "counts"), "*i32")
    sizes = ("outs", "columns", "stride")
    numbers = ("rows", "k", "tiles", "shards", "capacity", "room", "has_targets", "has_draw")
    for dtype in (None, torch.float16, torch.bfloat16):
        tensors = known | ({} if dtype is None else dict.fromkeys(("hidden", "matrix"), pointer_to(dtype)))
        constants: dict[str, object] = {"MAXIMA": _MAXIMA, "SHARDS": _SHARDS, "CHOSEN": CHOSEN, "TILE": TILE}
        constants |= dict.fromkeys(("hidden", "matrix")) if dtype is None else {}
        name = f"lm_head_topk merge{'' if dtype is None else f' {pointer_to(dtype)[1:]}'}"
        signature = tensors | dict.fromkeys((*sizes, *numbers), "i32")
        yield Variant(name, _merge, signature, constants, _WARPS, 3, (*tensors, *sizes), _registers(arch))
