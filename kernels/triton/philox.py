"""The random numbers and Gumbel noise of `reference.philox`, computed in registers."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
import triton
import triton.language as tl

_LN2 = tl.constexpr(0.6931471805599453)

_BOUND_ERROR = tl.constexpr(1e-5)
"""More than rounding can lower `gumbel_bound` by: a few units in the last place of numbers up to 23."""


@triton.jit
def _wide_product(x, FACTOR: tl.constexpr):
    """High and low 32 bits of a product, from one instruction."""
    product = x.to(tl.uint64) * FACTOR
    return (product >> 32).to(tl.uint32), product.to(tl.uint32)


@triton.jit
def philox(c0, c1, k0, k1):
    """Philox4x32-10 of the counter `(c0, c1, 0, 0)`: four words. Arguments are uint32 tensors of one shape."""
    c2 = tl.zeros_like(c0)
    c3 = tl.zeros_like(c0)
    for _ in tl.static_range(10):
        high0, low0 = _wide_product(c0, 0xD2511F53)
        high1, low1 = _wide_product(c2, 0xCD9E8D57)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += 0x9E3779B9
        k1 += 0xBB67AE85
    return c0, c1, c2, c3


@triton.jit
def gumbel_of(word):
    """Standard Gumbel noise of a Philox word (uint32): `-log(-log(1 - v))` with `v = (word + ½) / 2³²`.

    With `w = 1 - v` rounded, `-log(1 - v)` is `log(w) v / (w - 1)` up to the last bits (Goldberg 1991, Theorem 4), or
    `v` if `v` is so small that `w` is 1. Such values decide the draw.
    """
    high, low = (word >> 8).to(tl.int32).to(tl.float32), (word & 255).to(tl.int32).to(tl.float32)
    v = tl.minimum((high * 256.0 + (low + 0.5)) * 2.0**-32, 1 - 2.0**-24)
    w = 1.0 - v
    lost = w == 1.0
    exponential = tl.where(lost, v, tl.log(w) * (v / tl.where(lost, 1.0, w - 1.0)))
    return -tl.log(exponential)


@triton.jit
def gumbel_bound(word):
    """An upper bound of `gumbel_of(word)` for a fifth of its cost, which is tight where the noise is large.

    As `-log(1 - v) >= v`, the noise is at most `-log(v)`. The upper 23 bits of the word, read as a mantissa, are `v`
    rounded down.
    """
    below = ((word >> 9) | 0x3F800000).to(tl.float32, bitcast=True) - 1.0
    return tl.log2(below) * -_LN2 + _BOUND_ERROR
