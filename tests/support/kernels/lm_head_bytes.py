"""What an LM head reads from memory and writes to it, counted from the launch parameters."""

from __future__ import annotations

from typing import NamedTuple

import torch
from marcot.kernels.triton.arch import Arch
from marcot.kernels.triton.lm_head.shape import DENSE, TILE, rows_at_once, sample_of, shards_for, tile_shape


class HeadBytes(NamedTuple):
    """Bytes that one call moves.

    Attributes:
        weights: The vocabulary, read from memory once; if several blocks of rows read it, the others use the L2 cache.
        hidden: Hidden states, read from memory once; all further reads use the L2 cache.
        inputs: Targets, temperatures, keys and positions.
        results: Everything in `HeadTopK`.
        partials: What is written for another thread block or kernel, and read by it. It counts as memory traffic,
            although so little hardly leaves the cache.
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
        """Everything that is moved."""
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
        arch: The GPU of the launch.
        rows: Number of hidden states, at most as many as are multiplied at once.
        columns: Width of a hidden state.
        vocab: Size of the vocabulary.
        k: Number of best tokens wanted.
        dtype: Dtype of hidden states and weight.
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
        # Some tiles of logits are written, and `k` of them read for each row; the small tables are written and read.
        partials=rows * (4 * TILE * (written + k) + 2 * ((8 + 4 * has_draw) * tiles + (4 + 4 * has_draw) * all_shards)),
    )


def unfused_bytes(
    rows: int, columns: int, vocab: int, k: int, dtype: torch.dtype, has_targets: bool = True, has_draw: bool = True
) -> int:
    """Bytes of a product that writes its logits, and of a log-softmax, top-k and draw that read them once each."""
    logits = rows * vocab * dtype.itemsize
    inputs = rows * (8 * has_targets + (4 + 8 + 8) * has_draw)
    results = rows * ((8 + 4) * k + 4 + 4 * has_targets + (8 + 4 + 4) * has_draw)
    return (vocab + rows) * columns * dtype.itemsize + inputs + results + logits * (3 + has_draw)
