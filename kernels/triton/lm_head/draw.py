"""The Gumbel-max draw: the largest `logit / temperature + noise` of a row.

While logits are computed, only an upper bound of each tile's scores is kept, which takes one logarithm per token. The
merge then computes exact scores, with the specified noise, for the tile with the highest bound, and for another tile
only if its bound exceeds the best score found.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
import triton
import triton.language as tl

from ..philox import gumbel_bound, gumbel_of, philox
from .key import next_best


@triton.jit
def token_of_column(column):
    """The token whose logit is in a given column of a product; column 0 is token 0.

    Tokens are permuted within each 16 columns only. Tensor cores give each thread two neighbouring columns out of every
    eight. The permutation makes a thread's four columns out of 16 four neighbouring tokens, which share a Philox block.
    """
    return (column & -16) + (column >> 1 & 3) * 4 + (column >> 3 & 1) * 2 + (column & 1)


@triton.jit
def column_of_token(token):
    """The inverse of `token_of_column`."""
    return (token & -16) + (token >> 1 & 1) * 8 + (token >> 2 & 3) * 2 + (token & 1)


@triton.jit
def promise_of_tile(parts, first, inverse, key, position, unknown, PARTS: tl.constexpr):
    """An upper bound of each row's scores in a tile.

    Args:
        parts: The logits of the tile, in `PARTS` blocks of columns.
        first: First token of the tile.
        inverse: `[rows]` fp32, 1 / temperature.
        key: `[rows]` int64, Philox keys.
        position: `[rows]` int64, positions of the tokens to be drawn.
        unknown: 0, which the compiler cannot know. This keeps it from computing the random words of all parts in
            advance and holding them in registers.
        PARTS: Number of parts.
    """
    ROWS: tl.constexpr = inverse.shape[0]
    BLOCKS: tl.constexpr = parts[0].shape[1] // 4
    promise = tl.full([ROWS], float("-inf"), tl.float32)
    for part in tl.static_range(PARTS):
        logits = tl.reshape(parts[part], [ROWS, BLOCKS // 4, 2, 4, 2])
        logits = tl.reshape(tl.permute(logits, (0, 1, 3, 2, 4)), [ROWS, BLOCKS, 2, 2])
        even, odd = tl.split(logits)
        x0, x2 = tl.split(even)
        x1, x3 = tl.split(odd)
        block = first // 4 + part * BLOCKS + tl.arange(0, BLOCKS)[None, :] + (x0.to(tl.int32, bitcast=True) & unknown)
        none = tl.zeros([ROWS, BLOCKS], tl.uint32)
        again = (promise.to(tl.int32, bitcast=True) & unknown).to(tl.uint32)
        low, high = key.to(tl.uint32) + again, (key >> 32).to(tl.uint32) + again
        counter = position.to(tl.uint32)[:, None] + none
        w0, w1, w2, w3 = philox(block.to(tl.uint32), counter, low[:, None] + none, high[:, None] + none)
        factor = inverse[:, None] + tl.zeros_like(x0)
        first_two = tl.maximum(tl.fma(x0, factor, gumbel_bound(w0)), tl.fma(x1, factor, gumbel_bound(w1)))
        last_two = tl.maximum(tl.fma(x2, factor, gumbel_bound(w2)), tl.fma(x3, factor, gumbel_bound(w3)))
        promise = tl.maximum(promise, tl.max(tl.maximum(first_two, last_two), axis=1))
    return promise


@triton.jit
def best_of_tile(logits, token, inverse, key, position):
    """The score, token and logit of the draw among some logits of one row.

    `logits` and `token` are vectors; `inverse`, `key` and `position` are scalars.
    """
    none = tl.zeros(token.shape, tl.uint32)
    low, high = key.to(tl.uint32) + none, (key >> 32).to(tl.uint32) + none
    a, b, c, d = philox((token >> 2).to(tl.uint32), position.to(tl.uint32) + none, low, high)
    word = tl.where((token & 2) == 0, tl.where((token & 1) == 0, a, b), tl.where((token & 1) == 0, c, d))
    scores = tl.fma(logits, inverse + tl.zeros_like(logits), gumbel_of(word))
    is_one = token >= 0
    score, winner = next_best(scores, token, is_one, float("inf"), -1)
    return score, winner, tl.max(tl.where(token == winner, logits, float("-inf")), axis=0)
