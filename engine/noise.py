"""The noise of the draw for a few candidate tokens, on the host."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from ..kernels.reference.philox import KEY_STEPS, MULTIPLIERS, ROUNDS

_LOW = 0xFFFFFFFF


def gumbel(key: NDArray[np.int64], position: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """The noise that `kernels.reference.philox.gumbel` specifies, up to the last bit of a logarithm.

    Args:
        key: `[rows]`, Philox keys.
        position: `[rows]`, absolute positions of the tokens to be drawn.
        ids: `[rows, n]`, token ids.

    Returns:
        `[rows, n]`.
    """
    word = np.choose(ids & 3, _philox(ids >> 2, position, key))
    uniform = np.minimum(((word + 0.5) * 2.0**-32).astype(np.float32), np.float32(1 - 2.0**-24))
    # Rounded to fp32 where the specification rounds; the logarithms themselves are taken in fp64.
    exponential = -np.log1p(-uniform, dtype=np.float64).astype(np.float32)
    noise: NDArray[np.float32] = -np.log(exponential, dtype=np.float64).astype(np.float32)
    return noise


def _philox(block: NDArray[np.int64], position: NDArray[np.int64], key: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The four words of `philox(counter=(block, position, 0, 0), key)`, for `[rows, n]` blocks and `[rows]` the rest.

    All counters lie side by side in big integers, 64 bits for each word of 32, so that no product leaves its lane. On
    a few dozen counters this takes a quarter of the time of as many array operations, and less code that a decode step
    has driven out of the processor's caches.
    """
    lanes, columns = block.size, block.shape[1]
    ones = int.from_bytes((1).to_bytes(8, sys.byteorder) * lanes, sys.byteorder)
    low = ones * _LOW
    step0, step1 = ones * KEY_STEPS[0], ones * KEY_STEPS[1]
    k = _packed(key.repeat(columns))
    k0, k1 = k & low, (k >> 32) & low
    c0, c1, c2, c3 = _packed(block), _packed(position.repeat(columns)), 0, 0
    for _ in range(ROUNDS):
        product0, product1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = ((product1 >> 32) & low) ^ c1 ^ k0, product1 & low
        c2, c3 = ((product0 >> 32) & low) ^ c3 ^ k1, product0 & low
        k0, k1 = (k0 + step0) & low, (k1 + step1) & low
    words = [np.frombuffer(c.to_bytes(8 * lanes, sys.byteorder), np.int64) for c in (c0, c1, c2, c3)]
    return [word.reshape(block.shape) for word in words]


def _packed(lanes: NDArray[np.int64]) -> int:
    return int.from_bytes(lanes.tobytes(), sys.byteorder)
