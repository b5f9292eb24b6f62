"""What an LM head reads from memory and writes to it, counted from the parameters of the launch."""

from __future__ import annotations

from typing import NamedTuple

import torch

from .arch import Arch
from .lm_head_shape import DENSE, head_shape


class HeadBytes(NamedTuple):
    """Bytes of one call.

    Attributes:
        weights: Of the vocabulary, read once: where several blocks of rows read them side by side, from the L2 cache.
        hidden: Read once; all further reads are served by the L2 cache.
        wishes: Targets, temperatures, keys and positions.
        results: Everything that is in `HeadTopK`.
        partials: Whatever is written for another thread block or kernel, and its reads; counted as memory traffic,
            though it is so little that it hardly leaves the cache.
    """

    weights: int
    hidden: int
    wishes: int
    results: int
    partials: int

    @property
    def least(self) -> int:
        """What any implementation has to move."""
        return self.weights + self.hidden + self.wishes + self.results

    @property
    def total(self) -> int:
        """All of it."""
        return self.least + self.partials


def lm_head_bytes(
    arch: Arch,
    rows: int,
    columns: int,
    vocab: int,
    k: int,
    dtype: torch.dtype,
    has_targets: bool = True,
    has_draw: bool = True,
    candidates: float | None = None,
) -> HeadBytes:
    """Bytes of `lm_head_topk` with a dense weight.

    Args:
        arch: Whose launch it is.
        rows: Hidden states.
        columns: Width of a hidden state.
        vocab: Tokens.
        k: Best tokens that are wanted.
        dtype: Of hidden states and weight.
        has_targets: Whether there are targets.
        has_draw: Whether there is a draw.
        candidates: Tokens per row that leave the registers; as many as are expected if None.
    """
    shape = head_shape(arch, DENSE, rows, 0, vocab, k, dtype)
    if candidates is None:
        candidates = expected_candidates(shape.shards, k)
    sums = rows * shape.shards * (4 + (4 + 4 + 8) * has_draw)
    bounds_and_counts = rows * (8 * k + 4)
    return HeadBytes(
        weights=vocab * columns * dtype.itemsize,
        hidden=rows * columns * dtype.itemsize,
        wishes=rows * (8 * has_targets + (4 + 8 + 8) * has_draw),
        results=rows * ((8 + 4) * k + 4 + 4 * has_targets + (8 + 4 + 4) * has_draw),
        # Bounds and counts are set to zero, read and written; the others written and read.
        partials=3 * bounds_and_counts + 2 * sums + 2 * 8 * round(rows * candidates),
    )


def expected_candidates(shards: int, k: int) -> float:
    """Tokens of a row that leave the registers, were the vocabulary in random order.

    The bound is the smallest of `k` groups' maxima. Going down from the best token, every next one is of a random
    group; all of them have been met after `k (1 + 1/2 + .. + 1/k)` tokens (the coupon collector). With fewer thread
    blocks than groups there is no bound.
    """
    if shards < k:
        return shards * k
    return min(shards * k, k * sum(1 / n for n in range(1, k + 1)))


def unfused_bytes(
    rows: int, columns: int, vocab: int, k: int, dtype: torch.dtype, has_targets: bool = True, has_draw: bool = True
) -> int:
    """Bytes of a product that writes its logits, and of the log-softmax, top-k and draw that each read them once."""
    logits = rows * vocab * dtype.itemsize
    wishes = rows * (8 * has_targets + (4 + 8 + 8) * has_draw)
    results = rows * ((8 + 4) * k + 4 + 4 * has_targets + (8 + 4 + 4) * has_draw)
    return (vocab + rows) * columns * dtype.itemsize + wishes + results + logits * (3 + has_draw)
