"""Chooses the next token of each row among its candidates and advances the state of a round, with one warp per row."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..sampling import MAX_TOP_K, MOST_LOGIT, HeadTopK, RoundState, Sampled, SampleParams
from .arch import Arch
from .launch import launched
from .philox import philox
from .variant import Variant

_MOST = tl.constexpr(MOST_LOGIT)
_LAST_UNIFORM = tl.constexpr(1 - 2.0**-24)

MAX_ENDS = 8
"""Maximum number of columns of `RoundState.ends`."""

_ROWS, _WARPS = 1, 1
"""Rows and warps of a thread block. On an H200, more rows were slower, and more warps were no faster."""


@triton.jit
def _exp(x):
    """Exponentials of fp32 values, computed in fp64 and rounded, as on the host."""
    return tl.exp(x.to(tl.float64)).to(tl.float32)


@triton.jit
def _log(x):
    """Logarithms of fp32 values, computed in fp64 and rounded, as on the host."""
    return tl.log(x.to(tl.float64)).to(tl.float32)


@triton.jit
def _noise(key, position, tokens):
    """Standard Gumbel noise of each row's `tokens`, `[rows, n]`, bit for bit that of `reference.pick.gumbel`.

    With `w = 1 - v` rounded, `log(1 - v)` is `log(w) v / (1 - w)` up to the last bits (Goldberg 1991, Theorem 4). In
    fp64, no `v` is so small that `w` rounds to 1.
    """
    none = tl.zeros(tokens.shape, tl.uint32)
    low, high = key.to(tl.uint32)[:, None] + none, (key >> 32).to(tl.uint32)[:, None] + none
    counter = position.to(tl.uint32)[:, None] + none
    w0, w1, w2, w3 = philox((tokens >> 2).to(tl.uint32), counter, low, high)
    lane = tokens & 3
    word = tl.where(lane < 2, tl.where(lane == 0, w0, w1), tl.where(lane == 2, w2, w3))
    v = tl.minimum(((word.to(tl.float64) + 0.5) * 2.0**-32).to(tl.float32), _LAST_UNIFORM).to(tl.float64)
    w = 1.0 - v
    exponential = (-tl.log(w) * (v / (1.0 - w))).to(tl.float32)
    return -_log(exponential)


@triton.jit
def _some(condition):
    """Whether `condition` holds for any row."""
    return tl.max(condition.to(tl.int32), axis=0) > 0


@triton.jit
def _at(column, values):
    """The element of `values`, `[rows, n]`, at each row's `column`."""
    lane = tl.arange(0, values.shape[1])[None, :]
    return tl.sum(tl.where(lane == column[:, None], values, tl.zeros_like(values)), axis=1)


@triton.jit
def _choose(
    row,
    is_row,
    tokens,
    logits,
    lses,
    drawn_ids,
    drawn_logits,
    scaled_lses,
    temperatures,
    top_ks,
    top_ps,
    min_ps,
    widths,
    keys,
    positions,
    k,
):
    """Choose like `reference.sample`, for rows with candidates `tokens` and `logits`, `[rows, n]`.

    Returns:
        Tokens, their logits, and whether each choice is settled, `[rows]` each.
    """
    lane = tl.arange(0, tokens.shape[1])[None, :]
    temperature, top_k = tl.load(temperatures + row, is_row, 0.0), tl.load(top_ks + row, is_row, 0)
    top_p, min_p = tl.load(top_ps + row, is_row, 1.0), tl.load(min_ps + row, is_row, 0.0)
    width = tl.minimum(tl.load(widths + row, is_row, 0), k)
    key, position = tl.load(keys + row, is_row, 0), tl.load(positions + row, is_row, 0)
    lse = tl.load(lses + row, is_row, 0.0)
    greedy = temperature == 0
    scaled = tl.div_rn(logits, tl.where(greedy, 1.0, temperature)[:, None] + tl.zeros_like(logits))
    best = _at(tl.zeros_like(width), scaled)
    limited = (top_k > 0) & (top_k <= width)
    kept = tl.where(limited, top_k, width)
    settled = greedy | limited

    nucleus = (top_p < 1) & ~greedy
    if _some(nucleus):
        weight = tl.where(lane < kept[:, None], _exp(scaled - best[:, None]), 0.0).to(tl.float64)
        reached = tl.cumsum(weight, axis=1)
        mass = tl.max(reached, axis=1)
        total = tl.where(limited, mass, float("nan"))
        if scaled_lses is not None:
            whole = _exp(tl.load(scaled_lses + row, is_row, 0.0) - best).to(tl.float64)
            total = tl.where(top_k == 0, whole, total)
        enough = top_p * total
        within = (enough > 0).to(tl.int32) + tl.sum((reached < enough[:, None]).to(tl.int32), axis=1)
        kept = tl.where(nucleus, tl.minimum(kept, within), kept)
        settled = settled | (nucleus & (mass >= enough))
    if _some(min_p > 0):
        floor = best + _log(min_p)  # -inf if there is no limit
        probable = tl.sum(((scaled >= floor[:, None]) & (lane < k)).to(tl.int32), axis=1)
        kept = tl.minimum(kept, probable)
        settled = settled | (probable < width)
    kept = tl.where(greedy, tl.minimum(width, 1), kept)
    settled = settled & (kept > 0)

    pure = (drawn_ids is not None) & ~greedy & (top_k == 0) & (top_p >= 1) & (min_p <= 0)
    column = tl.zeros_like(width)
    if _some((kept > 1) & ~pure):
        score = tl.where(lane < kept[:, None], scaled + _noise(key, position, tokens), float("-inf"))
        column = tl.argmax(score, axis=1, tie_break_left=True).to(tl.int32)
    token, logit = _at(column, tokens), _at(column, logits)
    if drawn_ids is not None:
        token = tl.where(pure, tl.load(drawn_ids + row, is_row, 0), token)
        logit = tl.where(pure, tl.load(drawn_logits + row, is_row, 0.0), logit)
        settled = settled | pure
    lowest = _at(tl.maximum(width, 1) - 1, logits)
    finite = (tl.abs(lse) < _MOST) & (tl.abs(lowest) < _MOST)  # False for NaN
    return token, logit, settled & finite & (width > 0)


@triton.jit
def _candidates(top_ids, top_logits, row, is_row, k, LIST: tl.constexpr):
    """Tokens and logits of each row, `[rows, LIST]`; -inf beyond its `k`."""
    lane = tl.arange(0, LIST)[None, :]
    place = row[:, None] * k + lane
    is_candidate = is_row[:, None] & (lane < k)
    return tl.load(top_ids + place, is_candidate, 0), tl.load(top_logits + place, is_candidate, float("-inf"))


@launched(tensors=16, counts=2)
def _sample(
    ids,
    logits,
    settled,
    top_ids,
    top_logits,
    lse,
    drawn_ids,
    drawn_logits,
    scaled_lse,
    temperature,
    top_k,
    top_p,
    min_p,
    width,
    key,
    position,
    rows,
    k,
    ROWS: tl.constexpr,
    LIST: tl.constexpr,
):
    """Choose a token for each of `ROWS` rows."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = row < rows
    tokens, values = _candidates(top_ids, top_logits, row, is_row, k, LIST)
    token, logit, is_settled = _choose(
        row, is_row, tokens, values, lse, drawn_ids, drawn_logits, scaled_lse,
        temperature, top_k, top_p, min_p, width, key, position, k,
    )  # fmt: skip
    tl.store(ids + row, token, is_row)
    tl.store(logits + row, logit, is_row)
    tl.store(settled + row, is_settled, is_row)


@launched(tensors=28, counts=4)
def _advance(
    token_ids,
    positions,
    places,
    draw_position,
    next_places,
    ends,
    limit,
    drawn,
    ended,
    settled,
    result_ids,
    result_logits,
    result_lse,
    result_top_ids,
    result_top_logits,
    top_ids,
    top_logits,
    lse,
    drawn_ids,
    drawn_logits,
    scaled_lse,
    temperature,
    top_k,
    top_p,
    min_p,
    width,
    key,
    position,
    rows,
    room,
    columns,
    k,
    ROWS: tl.constexpr,
    LIST: tl.constexpr,
    ENDS: tl.constexpr,
):
    """Choose for `ROWS` rows and advance them; `room` and `columns` are the widths of `next_places` and of `ends`."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = row < rows
    tokens, values = _candidates(top_ids, top_logits, row, is_row, k, LIST)
    runs = is_row & (tl.load(ended + row, is_row, 1) == 0)
    number = tl.load(drawn + row, runs, 0)
    place = tl.load(next_places + row * room + number, runs, -1)
    # Both are read before anything is chosen: `position` shares its memory with `draw_position`, and all warps of a
    # block must have read it before one of them writes it.
    next_position = tl.load(positions + row, runs, 0) + 1
    next_draw = tl.load(draw_position + row, runs, 0) + 1
    token, logit, is_settled = _choose(
        row, is_row, tokens, values, lse, drawn_ids, drawn_logits, scaled_lse,
        temperature, top_k, top_p, min_p, width, key, position, k,
    )  # fmt: skip
    tl.store(settled + row, is_settled.to(tl.uint8), runs)

    moves = runs & is_settled
    at = number * rows + row
    tl.store(result_ids + at, token.to(tl.int32), moves)
    tl.store(result_logits + at, logit, moves)
    tl.store(result_lse + at, tl.load(lse + row, moves, 0.0), moves)
    lane, end = tl.arange(0, LIST)[None, :], tl.arange(0, ENDS)[None, :]
    is_candidate = moves[:, None] & (lane < k)
    tl.store(result_top_ids + at[:, None] * k + lane, tokens.to(tl.int32), is_candidate)
    tl.store(result_top_logits + at[:, None] * k + lane, values, is_candidate)
    tl.store(token_ids + row, token, moves)
    tl.store(places + row, place, moves)
    tl.store(positions + row, next_position, moves)
    tl.store(draw_position + row, next_draw, moves)
    tl.store(drawn + row, number + 1, moves)
    listed = tl.load(ends + row[:, None] * columns + end, moves[:, None] & (end < columns), -1)
    is_end = tl.max((listed == token[:, None]).to(tl.int32), axis=1) > 0
    is_last = number + 1 >= tl.load(limit + row, moves, 0)
    tl.store(ended + row, (is_end | is_last).to(tl.uint8), moves)


def sample(head: HeadTopK, params: SampleParams) -> Sampled:
    """Choose a token for each row. See `Kernels.sample`."""
    rows, k = head.top_ids.shape
    sampled = Sampled(
        head.top_ids.new_empty(rows), head.lse.new_empty(rows), head.lse.new_empty(rows, dtype=torch.bool)
    )
    if rows:
        _sample[(-(-rows // _ROWS),)](
            *sampled, *_head(head), *_contiguous(params), rows, k, _ROWS, MAX_TOP_K, num_warps=_WARPS
        )
    return sampled


def advance(state: RoundState, head: HeadTopK, params: SampleParams) -> None:
    """Choose tokens and advance the rows of a round, in one launch. See `Kernels.advance`."""
    rows, k = head.top_ids.shape
    room, columns = state.next_places.shape[1], state.ends.shape[1]
    assert state.top_ids.shape == (room, rows, k)
    assert columns <= MAX_ENDS
    assert all(part.is_contiguous() for part in state)
    if rows:
        _advance[(-(-rows // _ROWS),)](
            *state, *_head(head), *_contiguous(params), rows, room, columns, k, _ROWS, MAX_TOP_K, MAX_ENDS,
            num_warps=_WARPS,
        )  # fmt: skip


def _head(head: HeadTopK) -> tuple[Tensor | None, ...]:
    drawn = (head.drawn_ids, head.drawn_logits, head.scaled_lse)
    return tuple(
        None if part is None else part.contiguous() for part in (head.top_ids, head.top_logits, head.lse, *drawn)
    )


def _contiguous(params: SampleParams) -> tuple[Tensor, ...]:
    return tuple(part.contiguous() for part in params)


_PARAMS = {
    "temperature": "*fp32",
    "top_k": "*i32",
    "top_p": "*fp64",
    "min_p": "*fp32",
    "width": "*i32",
    "key": "*i64",
    "position": "*i64",
}
_HEAD = {"top_ids": "*i64", "top_logits": "*fp32", "lse": "*fp32"}
_DRAWN = {"drawn_ids": "*i64", "drawn_logits": "*fp32", "scaled_lse": "*fp32"}
_SAMPLED = {"ids": "*i64", "logits": "*fp32", "settled": "*i1"}
_STATE = {
    "token_ids": "*i64",
    "positions": "*i32",
    "places": "*i64",
    "draw_position": "*i64",
    "next_places": "*i64",
    "ends": "*i64",
    "limit": "*i32",
    "drawn": "*i32",
    "ended": "*u8",
    "settled": "*u8",
    "result_ids": "*i32",
    "result_logits": "*fp32",
    "result_lse": "*fp32",
    "result_top_ids": "*i32",
    "result_top_logits": "*fp32",
}


def sample_variants(arch: Arch) -> Iterator[Variant]:
    """Every binary that `sample` and `advance` launch."""
    for has_draw in (False, True):
        head = _HEAD | (_DRAWN if has_draw else {})
        absent: dict[str, object] = {} if has_draw else dict.fromkeys(_DRAWN)
        suffix = " draw" if has_draw else ""
        for name, kernel, own, numbers, constants in (
            ("sample", _sample, _SAMPLED, ("rows", "k"), {}),
            ("advance", _advance, _STATE, ("rows", "room", "columns", "k"), {"ENDS": MAX_ENDS}),
        ):
            tensors = own | head | _PARAMS
            signature = tensors | dict.fromkeys(numbers, "i32")
            fixed = {"ROWS": _ROWS, "LIST": MAX_TOP_K} | constants | absent
            yield Variant(f"{name}{suffix}", kernel, signature, fixed, _WARPS, 3, tuple(tensors))
