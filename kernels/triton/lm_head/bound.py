"""Lower bounds of a row's best `k` logits and of its draw's score, from a sample of the tiles."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from collections.abc import Iterator

import triton
import triton.language as tl

from ...sampling import Draw
from ..variant import Variant
from .draw import best_of_tile, token_of_column
from .key import next_best
from .partial import Partial
from .shape import MOST_SAMPLED, TILE

_WARPS = 1
"""The work is sequential, and a single warp never waits for others."""


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
    """Compute the bounds of one row from the sample: `known` tiles, every `step`-th of all.

    The bound of the logits is the `k`-th largest maximum of these tiles; that of the draw is the best score in the tile
    with the highest upper bound.
    """
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
            place = tl.minimum(most[1], known - 1)  # a row that is not finite has no best tile
            column = tl.arange(0, TILE)
            line = logits + (row.to(tl.int64) * capacity + place) * TILE
            first = tl.load(tokens + place * step)
            token, inverse = first + token_of_column(column), 1.0 / temperature
            key, position = tl.load(keys + row), tl.load(positions + row)
            best = best_of_tile(tl.load(line + column), token, inverse, key, position)
            tl.store(best_scores + row, best[0])


def bound(partial: Partial, draw: Draw | None, known: int, step: int, k: int) -> None:
    """Write the bounds of every row, and set `counts` to the places that the sample has taken.

    Args:
        partial: Holds the results of the sample, and receives the bounds.
        draw: Parameters of the draw, or None.
        known: Number of tiles in the sample.
        step: Every `step`-th tile is in the sample.
        k: How many of the best tokens are wanted.
    """
    rows, tiles = partial.maxima.shape
    assert known <= MOST_SAMPLED
    # Without a draw, tensors of the same type stand in for its parameters.
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
