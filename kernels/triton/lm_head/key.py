"""Keys that order tokens by their logits without ties: larger logits first, and of equal ones the lower token id.

A logit and its token are packed into one int64 with this order. No two keys are equal, so the set of the best `k` does
not depend on the order in which threads find them.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
import triton
import triton.language as tl

NO_TOKEN = tl.constexpr(0x7FFFFFFF)
"""Above every token id."""

_LOWEST = tl.constexpr(-(2**31))
"""Below the bits of every finite number, in the order of `kth_largest`."""


@triton.jit
def key_of(logit, token):
    """The key of a logit and its token, at least 2³¹: 32 bits in logit order, then 31 bits in reverse token order."""
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
    """The next of some values in descending order, and its number. Of equal values, the lower number comes first.

    `value` and `last` are the previous result; `inf` and -1 give the largest value. `values` and `number` (int32) are
    vectors, of which only the elements marked in `is_one` count. If none is left, the result is `-inf` and `NO_TOKEN`.
    """
    is_left = is_one & ((values < value) | ((values == value) & (number > last)))
    value = tl.max(tl.where(is_left, values, float("-inf")), axis=0)
    return value, tl.min(tl.where(is_left & (values == value), number, NO_TOKEN), axis=0)


@triton.jit
def kth_largest(values, k):
    """The `k`-th largest of some fp32 numbers, or -inf if there are fewer; equal numbers count once.

    The numbers are compared as integers in the same order, because a warp finds the largest integer in one instruction.
    """
    bits = values.to(tl.int32, bitcast=True)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    for _ in range(k - 1):
        ordered = tl.where(ordered == tl.max(ordered, axis=0), _LOWEST, ordered)
    kth = tl.max(ordered, axis=0)
    bits = kth ^ ((kth >> 31) & 0x7FFFFFFF)
    return tl.where(kth == _LOWEST, float("-inf"), bits.to(tl.float32, bitcast=True))
