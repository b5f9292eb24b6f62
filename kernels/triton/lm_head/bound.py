"""What the best tokens of a row and its draw are not below, from a sample of the tiles."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from collections.abc import Iterator

import triton
import triton.language as tl

from ...ops import Draw
from ..variant import Variant
from .draw import best_of_tile, token_of_column
from .key import next_best
from .partial import Partial
from .shape import MOST_SAMPLED, TILE

_WARPS = 1
"""A warp has no other to wait for, and what is done here is done one after the other."""


@triton.jit(do_not_specialize=["tiles", "known", "step", "capacity", "k", "has_draw"])
def _bound(
    bounds,
    bound_tiles,
    best_scores,
    counts,
    maxima,
    promises,
    tokens,
    logits,
    temperatures,
    keys,
    positions,
    tiles,
    known,
    step,
    capacity,
    k,
    has_draw,
    SAMPLED: tl.constexpr,
    TILE: tl.constexpr,
):
    """The `k`-th best tile of every `step`-th; `known` is how many these are."""
    row = tl.program_id(0)
    number = tl.arange(0, SAMPLED)
    tile = number * step
    is_known = number < known
    values = tl.load(maxima + row * tiles + tile, is_known, float("-inf"))
    logit = float("inf")
    last = -1
    for _ in range(k):
        logit, last = next_best(values, tile, is_known, logit, last)
    tl.store(bounds + row, logit)
    tl.store(bound_tiles + row, last)
    tl.store(counts + row, known)
    if has_draw != 0:
        temperature = tl.load(temperatures + row)
        if temperature > 0:
            values = tl.load(promises + row * tiles + tile, is_known, float("-inf"))
            most = next_best(values, number, is_known, float("inf"), -1)
            place = tl.minimum(most[1], known - 1)  # of a row that is not finite there is none
            column = tl.arange(0, TILE)
            line = logits + (row.to(tl.int64) * capacity + place) * TILE
            first = tl.load(tokens + place * step)
            token, inverse = first + token_of_column(column), 1.0 / temperature
            key, position = tl.load(keys + row), tl.load(positions + row)
            best = best_of_tile(tl.load(line + column), token, inverse, key, position)
            tl.store(best_scores + row, best[0])


def bound(partial: Partial, draw: Draw | None, known: int, step: int, k: int) -> None:
    """Write the bounds of every row, and that the places of the sample are taken.

    Args:
        partial: What is known of the sample.
        draw: Parameters of the draw, or None.
        known: Tiles of the sample.
        step: Every how manyth tile is in it.
        k: How many of the best tokens are wanted.
    """
    rows, tiles = partial.maxima.shape
    assert known <= MOST_SAMPLED
    # Without a draw, tensors of the same type take its place.
    draws = (partial.bounds, partial.chosen, partial.chosen) if draw is None else draw
    _bound[rows,](
        partial.bounds, partial.bound_tiles, partial.best_scores, partial.counts, partial.maxima,
        partial.maxima if partial.promises is None else partial.promises, partial.tokens, partial.logits, *draws,
        tiles, known, step, partial.logits.shape[1], k, int(draw is not None),
        SAMPLED=MOST_SAMPLED, TILE=TILE, num_warps=_WARPS,
    )  # fmt: skip


def bound_variants() -> Iterator[Variant]:
    """The binary that `bound` launches."""
    tensors = dict.fromkeys(("bounds", "best_scores", "maxima", "promises", "logits", "temperatures"), "*fp32")
    tensors |= dict.fromkeys(("bound_tiles", "counts", "tokens"), "*i32") | dict.fromkeys(("keys", "positions"), "*i64")
    numbers = dict.fromkeys(("tiles", "known", "step", "capacity", "k", "has_draw"), "i32")
    constants: dict[str, object] = {"SAMPLED": MOST_SAMPLED, "TILE": TILE}
    yield Variant("lm_head_topk bound", _bound, tensors | numbers, constants, _WARPS, 3, tuple(tensors))
