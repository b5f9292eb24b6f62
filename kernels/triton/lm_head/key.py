"""Logits in an order without ties: larger ones first, of equal ones the lower token.

A logit and its token are one int64 that orders as they do. No two keys are alike, so the best `k` are a set that does
not depend on who finds them when.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
import triton
import triton.language as tl

NO_TOKEN = tl.constexpr(0x7FFFFFFF)
"""Above every token."""

_LOWEST = tl.constexpr(-(2**31))
"""Below every finite number's bits."""


@triton.jit
def key_of(logit, token):
    """32 bits that order like the logits, then 31 that order against the tokens: at least 2³¹."""
    bits = (logit + 0.0).to(tl.int32, bitcast=True).to(tl.int64)  # the sum turns -0 into 0
    ordered = tl.where(bits < 0, ~bits & 0xFFFFFFFF, bits | 0x80000000)
    return (ordered << 31) | (0x7FFFFFFF - token)


@triton.jit
def token_of(key):
    """The token of a key, int64."""
    return 0x7FFFFFFF - (key & 0x7FFFFFFF)


@triton.jit
def logit_of(key):
    """The logit of a key, fp32."""
    ordered = key >> 31
    bits = tl.where(ordered >= 0x80000000, ordered & 0x7FFFFFFF, ~ordered & 0xFFFFFFFF)
    return bits.to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
def next_best(values, number, is_one, value, last):
    """The best of some values and its number, after a value and number: `inf` and -1 for the very best.

    `values` and `number` (int32) are vectors, `is_one` says which of them count. None left: `-inf` and `NO_TOKEN`.
    """
    is_left = is_one & ((values < value) | ((values == value) & (number > last)))
    value = tl.max(tl.where(is_left, values, float("-inf")), axis=0)
    return value, tl.min(tl.where(is_left & (values == value), number, NO_TOKEN), axis=0)


@triton.jit
def kth_largest(values, k):
    """The `k`-th largest of some fp32 numbers, -inf where there are fewer; equal ones count once.

    It is looked for in integers that order as the numbers do, of which a warp finds the largest by one instruction.
    """
    bits = values.to(tl.int32, bitcast=True)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    for _ in range(k - 1):
        ordered = tl.where(ordered == tl.max(ordered, axis=0), _LOWEST, ordered)
    kth = tl.max(ordered, axis=0)
    bits = kth ^ ((kth >> 31) & 0x7FFFFFFF)
    return tl.where(kth == _LOWEST, float("-inf"), bits.to(tl.float32, bitcast=True))
