"""Counter-based random numbers: a draw depends on its key and its counter, never on what was drawn before."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Philox4x32-10 (Salmon et al., SC 2011).

    Args:
        counter: Four int64 tensors with values in `[0, 2³²)`, broadcastable.
        key: Two such tensors.

    Returns:
        Four int64 tensors with values in `[0, 2³²)`.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        high0, low0 = _wide_product(c0, MULTIPLIERS[0])
        high1, low1 = _wide_product(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + KEY_STEPS[0]) & _LOW, (k1 + KEY_STEPS[1]) & _LOW
    return c0, c1, c2, c3


def _wide_product(x: Tensor, y: int) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a 32 x 32 bit product; int64 wraps around, but its bits are still the product's."""
    product = x * y
    return (product >> 32) & _LOW, product & _LOW


def gumbel(key: Tensor, position: Tensor, ids: Tensor) -> Tensor:
    """Standard Gumbel noise of each token.

    Token `t` takes word `t mod 4` of `philox(counter=(t div 4, position, 0, 0), key)`, so that four neighbouring
    tokens share one block. With that word `w`, `v = (w + ½) / 2³²` is uniform in (0, 1) and the noise is
    `-log(-log(1 - v))`: the large values, which decide the draw, come from small `v`, where fp32 is finest.

    Args:
        key: `[rows]` int64.
        position: `[rows]` int64.
        ids: `[rows, n]` or `[1, n]` int64, token ids.

    Returns:
        `[rows, n]` fp32.
    """
    key, position = key[:, None], position[:, None]
    zero = torch.zeros_like(position)
    words = philox((ids >> 2, position & _LOW, zero, zero), (key & _LOW, (key >> 32) & _LOW))
    lane = ids & 3
    word = torch.where(lane < 2, torch.where(lane == 0, words[0], words[1]), torch.where(lane == 2, words[2], words[3]))
    uniform = ((word.double() + 0.5) * 2.0**-32).float().clamp_(max=1 - 2.0**-24)
    return -torch.log(-torch.log1p(-uniform))
