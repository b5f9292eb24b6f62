"""A logit and its token as one int64 that orders as they do: larger logits first, of equal ones the lower token.

No two keys are alike, so the best `k` are a set that does not depend on who finds them when.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
import triton
import triton.language as tl

NEVER = tl.constexpr(2**63 - 1)
"""Above every key."""


@triton.jit
def key_of(logit, token):
    """32 bits that order like the logits, then 31 that order against the tokens: at least 2³¹."""
    bits = (logit + 0.0).to(tl.int32, bitcast=True).to(tl.int64)  # the sum turns -0 into 0
    ordered = tl.where(bits < 0, ~bits & 0xFFFFFFFF, bits | 0x80000000)
    return (ordered << 31) | (0x7FFFFFFF - token)


@triton.jit
def bound_of(logit):
    """The upper 32 bits of a key of this logit, as a positive int32."""
    return (key_of(logit, 0) >> 32).to(tl.int32)


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
