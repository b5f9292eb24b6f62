"""The LM head: everything that is wanted of the logits is computed in one pass, while they are in registers.

For few rows, all logits are also written to memory, 20 MB at most, and a merge with one thread block per row finds the
best tokens in the tiles that hold them. For many rows, that would be too much. Instead, a sample of the vocabulary is
multiplied first. No token below the `k`-th largest maximum of the sample's tiles can be among the best `k`, so a row of
any other tile is written only if it has a logit above that bound.

Nothing waits for the host. The launches do not depend on the values, and the results do not depend on the order in
which thread blocks run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ...sampling import MAX_TOP_K, Draw, HeadTopK
from ..arch import Arch
from ..linear.linear import activations
from ..linear.packed_linear import DenseSection, QuantizedSection, TritonLinear
from ..variant import Variant
from .bound import bound, bound_variants
from .merge import Again, merge, merge_variants
from .partial import Partial
from .shape import (
    DENSE,
    TILE,
    rows_at_once,
    sample_of,
    shards_for,
    tile_shape,
)
from .tiles import Tokens, multiply, tile_variants

_MOST_ROWS = 256
"""Rows that are multiplied at once: for the 20 best of 152,064 tokens, up to 71 MB of logits may be written."""


class _HeadInputs(NamedTuple):
    """The arguments of `lm_head_topk` for some rows."""

    hidden: Tensor
    k: int
    targets: Tensor | None
    draw: Draw | None

    def select(self, rows: slice) -> _HeadInputs:
        """Return the arguments for a part of these rows."""
        targets = None if self.targets is None else self.targets[rows]
        draw = None if self.draw is None else Draw(*(field[rows] for field in self.draw))
        return _HeadInputs(self.hidden[rows], self.k, targets, draw)


def lm_head_topk(
    arch: Arch,
    hidden: Tensor,
    weight: TritonLinear,
    k: int,
    targets: Tensor | None = None,
    draw: Draw | None = None,
    invariant: bool = False,
) -> HeadTopK:
    """LM head, log-sum-exp, top-k, targets and draw. See `Kernels.lm_head_topk`.

    Args:
        arch: GPU architecture, which decides the shapes of tiles.
        hidden: `[rows, hidden]`.
        weight: `[vocab, hidden]`.
        k: How many of the best tokens are wanted.
        targets: `[rows]` int64, tokens whose logits are wanted, or None.
        draw: Parameters of the draw, or None.
        invariant: Whether to be batch-invariant: a row's results have the same bits in any batch.
    """
    assert hidden.shape[1] == weight.in_features
    assert hidden.dtype == weight.dtype
    assert 1 <= k <= min(MAX_TOP_K, weight.out_features)
    head = _empty(len(hidden), k, targets is not None, draw is not None, hidden.device)
    hidden = hidden if hidden.stride(1) == 1 else hidden.contiguous()
    targets = None if targets is None else targets.contiguous()
    draw = None if draw is None else Draw(*(field.contiguous() for field in draw))
    inputs = _HeadInputs(hidden, k, targets, draw)
    tiles = sum(_tiles(first, section.rows) for first, section in weight.placed())
    few = rows_at_once(tiles)
    dense = weight.sections[0] if len(weight.sections) == 1 else None
    is_sampled = isinstance(dense, DenseSection) and not invariant and len(hidden) > few
    at_once = _MOST_ROWS if is_sampled else few
    for start in range(0, len(hidden), at_once):
        rows = slice(start, start + at_once)
        if isinstance(dense, DenseSection) and is_sampled:
            _sampled(arch, head.select(rows), dense, inputs.select(rows))
        else:
            _whole(arch, head.select(rows), weight, inputs.select(rows), tiles, invariant)
    return head


def _tiles(first: int, outs: int) -> int:
    """Number of tiles that a section of the vocabulary spans."""
    return -(-(first + outs) // TILE) - first // TILE


def _whole(arch: Arch, head: HeadTopK, weight: TritonLinear, inputs: _HeadInputs, tiles: int, invariant: bool) -> None:
    """Write all logits to memory, then merge."""
    hidden, k, targets, draw = inputs
    rows = len(hidden)
    launches = []
    first_tile = first_shard = 0
    for first, section in weight.placed():
        format = section.format if isinstance(section, QuantizedSection) else DENSE
        shape = tile_shape(arch, format, rows, weight.dtype, draw is not None, invariant)
        amount = _tiles(first, section.rows)
        shards = shards_for(arch, shape, rows, amount, invariant)
        launches.append((Tokens(section, first, first_tile, amount, 1, first_shard), shape, shards))
        first_tile += amount
        first_shard += shards
    partial = Partial.empty(rows, tiles, tiles, first_shard, draw is not None, hidden.device)
    for tokens, shape, shards in launches:
        x = activations(hidden, tokens.section)
        multiply(partial, x, tokens, shape, shards, targets, draw)
    merge(arch, head, partial, k, targets, draw)


def _sampled(arch: Arch, head: HeadTopK, section: DenseSection, inputs: _HeadInputs) -> None:
    """Write the logits of a sample of the tiles, then those of other tiles that are above its bound, and merge."""
    hidden, k, targets, draw = inputs
    rows = len(hidden)
    tiles = _tiles(0, section.rows)
    shape = tile_shape(arch, DENSE, rows, hidden.dtype, draw is not None)
    shards = shards_for(arch, shape, rows, tiles)
    sample = sample_of(tiles, shards, k)
    few, many = min(sample.tiles, shards), min(sample.others, shards)
    # After the shared room: `k` places for best tiles that found no room, one for the draw's and one for the target's.
    partial = Partial.empty(rows, tiles, sample.capacity + k + 2, few + many, draw is not None, hidden.device)
    x = activations(hidden, section)
    first = Tokens(section, 0, 0, sample.tiles, sample.step, 0)
    multiply(partial, x, first, shape, few, targets, draw)
    bound(partial, draw, sample.tiles, sample.step, k)
    others = Tokens(section, 0, 0, sample.others, sample.step, few)
    multiply(partial, x, others, shape, many, targets, draw, sample.capacity)
    merge(arch, head, partial, k, targets, draw, Again(x, section.matrix, sample.capacity))


def _empty(rows: int, k: int, has_targets: bool, has_draw: bool, device: torch.device) -> HeadTopK:
    def numbers() -> Tensor:
        return torch.empty(rows, device=device)

    def ids(*shape: int) -> Tensor:
        return torch.empty(*shape, dtype=torch.int64, device=device)

    return HeadTopK(
        ids(rows, k),
        torch.empty(rows, k, device=device),
        numbers(),
        numbers() if has_targets else None,
        ids(rows) if has_draw else None,
        numbers() if has_draw else None,
        numbers() if has_draw else None,
    )


def lm_head_variants(arch: Arch) -> Iterator[Variant]:
    """Every binary that `lm_head_topk` launches in 16 bits for hidden sizes that are multiples of 16."""
    yield from tile_variants(arch)
    yield from bound_variants()
    yield from merge_variants(arch)
