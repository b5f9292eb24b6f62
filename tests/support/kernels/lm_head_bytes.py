"""What an LM head reads from memory and writes to it, counted from the parameters of the launch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from marcot.kernels.triton.arch import Arch
from marcot.kernels.triton.lm_head.shape import DENSE, TILE, rows_at_once, sample_of, shards_for, tile_shape


class HeadBytes(NamedTuple):
    """Bytes of one call.

    Attributes:
        weights: Of the vocabulary, read once: where several blocks of rows read them side by side, from the L2 cache.
        hidden: Read once; all further reads are served by the L2 cache.
        inputs: Targets, temperatures, keys and positions.
        results: Everything that is in `HeadTopK`.
        partials: Whatever is written for another thread block or kernel, and its reads; counted as memory traffic,
            though it is so little that it hardly leaves the cache.
    """

    weights: int
    hidden: int
    inputs: int
    results: int
    partials: int

    @property
    def least(self) -> int:
        """What any implementation has to move."""
        return self.weights + self.hidden + self.inputs + self.results

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
) -> HeadBytes:
    """Bytes of `lm_head_topk` with a dense weight.

    Args:
        arch: Whose launch it is.
        rows: Hidden states, at most as many as are multiplied at once.
        columns: Width of a hidden state.
        vocab: Tokens.
        k: Best tokens that are wanted.
        dtype: Of hidden states and weight.
        has_targets: Whether there are targets.
        has_draw: Whether there is a draw.
    """
    tiles = -(-vocab // TILE)
    shape = tile_shape(arch, DENSE, rows, dtype, has_draw)
    shards = shards_for(arch, shape, rows, tiles)
    written, all_shards = tiles, shards
    if rows > rows_at_once(tiles):
        sample = sample_of(tiles, shards, k)
        written = sample.tiles + k * (sample.step - 1)
        all_shards = min(sample.tiles, shards) + min(sample.others, shards)
    return HeadBytes(
        weights=vocab * columns * dtype.itemsize,
        hidden=rows * columns * dtype.itemsize,
        inputs=rows * (8 * has_targets + (4 + 8 + 8) * has_draw),
        results=rows * ((8 + 4) * k + 4 + 4 * has_targets + (8 + 4 + 4) * has_draw),
        # Tiles are written as far as there is reason to, and `k` of a row read; the others written and read.
        partials=rows * (4 * TILE * (written + k) + 2 * ((8 + 4 * has_draw) * tiles + (4 + 4 * has_draw) * all_shards)),
    )


def unfused_bytes(
    rows: int, columns: int, vocab: int, k: int, dtype: torch.dtype, has_targets: bool = True, has_draw: bool = True
) -> int:
    """Bytes of a product that writes its logits, and of the log-softmax, top-k and draw that each read them once."""
    logits = rows * vocab * dtype.itemsize
    inputs = rows * (8 * has_targets + (4 + 8 + 8) * has_draw)
    results = rows * ((8 + 4) * k + 4 + 4 * has_targets + (8 + 4 + 4) * has_draw)
    return (vocab + rows) * columns * dtype.itemsize + inputs + results + logits * (3 + has_draw)
