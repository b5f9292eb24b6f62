"""The noise of `reference.philox`, in registers."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
import triton
import triton.language as tl


@triton.jit
def philox(c0, c1, k0, k1):
    """Philox4x32-10 of the counter `(c0, c1, 0, 0)`: four words. Arguments are uint32 tensors of one shape.

    The rounds are a loop that is not unrolled: otherwise all round keys of all rows are computed ahead and wait in
    registers.
    """
    c2 = tl.zeros_like(c0)
    c3 = tl.zeros_like(c0)
    for _ in range(10):
        high0, low0 = tl.umulhi(c0, 0xD2511F53), c0 * 0xD2511F53
        high1, low1 = tl.umulhi(c2, 0xCD9E8D57), c2 * 0xCD9E8D57
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += 0x9E3779B9
        k1 += 0xBB67AE85
    return c0, c1, c2, c3


@triton.jit
def gumbel_of(word):
    """Standard Gumbel noise of a Philox word (uint32): `-log(-log(1 - v))` with `v = (word + ½) / 2³²`.

    With `w = 1 - v` rounded, `log(1 - v)` is `log(w) v / (w - 1)` up to the last bits, also where `v` is so small that
    `w` has lost it (Goldberg 1991, Theorem 4). Such values decide the draw.
    """
    high, low = (word >> 8).to(tl.int32).to(tl.float32), (word & 255).to(tl.int32).to(tl.float32)
    v = tl.minimum((high * 256.0 + (low + 0.5)) * 2.0**-32, 1 - 2.0**-24)
    w = 1.0 - v
    lost = w == 1.0
    exponential = tl.where(lost, v, tl.log(w) * (v / tl.where(lost, 1.0, w - 1.0)))
    return -tl.log(exponential)


@triton.jit
def gumbel_noise(key, position, first, TOKENS: tl.constexpr):
    """Noise of tokens `[first, first + TOKENS)`, `first` a multiple of 4: `[rows, TOKENS]` fp32.

    One Philox block serves four neighbouring tokens. `key` and `position` are `[rows]` int64.
    """
    none = tl.zeros([TOKENS // 4, key.shape[0]], tl.uint32)
    block = (first // 4 + tl.arange(0, TOKENS // 4)).to(tl.uint32)[:, None] + none
    low = key.to(tl.uint32)[None, :] + none
    high = (key >> 32).to(tl.uint32)[None, :] + none
    a, b, c, d = philox(block, position.to(tl.uint32)[None, :] + none, low, high)
    noise = tl.join(tl.join(gumbel_of(a), gumbel_of(c)), tl.join(gumbel_of(b), gumbel_of(d)))
    return tl.reshape(tl.permute(noise, (1, 0, 2, 3)), [key.shape[0], TOKENS])
