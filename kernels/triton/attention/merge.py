"""Merges a row's partial results in the same launch that computes them.

A row whose path spans several tiles has a partial result in each: for every (row, head) pair the sum of its weighted
values, its largest score and the sum of its weights. After storing the results of its tile, a thread block takes a
*ticket* for every pair. The block that gets the last ticket of a pair knows that all partial results of the pair are
stored. It merges them in the order of their list, so that no bit depends on which block came last, and resets the
pair's tickets to 0.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from typing import Final, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

LEAST = tl.constexpr(-3e38)
"""The maximum of no scores: finite, so that subtracting it from itself gives 0."""

_VALUES: Final = 64
"""Values of partial results that a thread has in flight, in registers."""

_MOST_AT_ONCE: Final = 4
"""Maximum number of partial results of a pair that are in flight at once; rows rarely have more."""

_TICKETS: Final = 1 << 20
"""Number of tickets that are allocated at first, 4 MB: one per head and row of the largest steps."""


class MergeShape(NamedTuple):
    """How much of the partial results a thread block merges at a time.

    Attributes:
        columns: Columns of each head.
        at_once: Partial results of each (row, head) pair.
    """

    columns: int
    at_once: int


def merge_shape(warps: int, block_m: int, block_d: int) -> MergeShape:
    """The shape for `block_m` (row, head) pairs and heads padded to `block_d`."""
    values = warps * 32 * _VALUES // block_m
    columns = min(block_d, values)
    return MergeShape(columns, min(_MOST_AT_ONCE, values // columns))


class Tickets:
    """Counters on the device that are 0 before and after each launch that uses them.

    Launches that overlap must not share counters, so each stream needs its own object. A recorded graph keeps using the
    counters that it was recorded with, so none are freed before the object is.
    """

    def __init__(self) -> None:
        """Allocate nothing yet; `take` does."""
        self._counters: list[Tensor] = []

    def take(self, count: int, device: torch.device) -> Tensor:
        """Return at least `count` int32 counters.

        A call that allocates must not be recorded in a graph: the first one, and any for more than 1,048,576 counters.
        """
        if not self._counters or len(self._counters[-1]) < count:
            assert not torch.cuda.is_available() or not torch.cuda.is_current_stream_capturing()
            self._counters.append(torch.zeros(max(_TICKETS, count), dtype=torch.int32, device=device))
        return self._counters[-1]


@triton.jit
def merge_in_place(
    out,
    partial_acc,
    partial_sums,
    tickets,
    partials,
    merges,
    place,
    head,
    heads,
    is_pair,
    HEAD_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """Merge those (row, head) pairs at `place` whose last missing partial result this thread block has stored.

    `merges` are pointers to the entries of the pairs' rows in `Tiles.merges`.
    """
    listed = tl.load(merges, is_pair, 0)
    count = tl.load(merges + 1, is_pair, 0) - listed
    entries = _entries(partials + listed, count, AT_ONCE)
    is_last = _last_of_pairs(tickets, place, count, is_pair)
    most = tl.max(tl.where(is_last, count, 0), axis=0)
    if most > 0:
        tl.debug_barrier()
        for column in tl.static_range(0, BLOCK_D, BLOCK_C):
            _merge_columns(
                out, partial_acc, partial_sums, partials + listed, entries, count, most, place, head, heads, is_last,
                column, HEAD_DIM, BLOCK_M, BLOCK_C, AT_ONCE,
            )  # fmt: skip


@triton.jit
def _last_of_pairs(tickets, place, count, is_pair):
    """Take a ticket for each (row, head) pair at `place`, after its partial result has been stored.

    Returns:
        Whether it was the last of the pair's `count` tickets.
    """
    tl.debug_barrier()  # whoever sees one thread's ticket must see what all threads have stored
    taken = tl.atomic_add(tickets + place, 1, is_pair, sem="acq_rel", scope="gpu")
    is_last = is_pair & (taken == count - 1)
    tl.store(tickets + place, 0, is_last)
    return is_last


@triton.jit
def _entries(partials, count, AT_ONCE: tl.constexpr):
    """The first `AT_ONCE` entries of the pairs' lists, loaded ahead of the partial results."""
    entries = ()
    for number in tl.static_range(AT_ONCE):
        entry = tl.load(partials + number, number < count, 0)
        entries = entries + (entry,)  # type: ignore[assignment]  # noqa: RUF005  (Triton takes no star)
    return entries


@triton.jit
def _merge_columns(
    out,
    partial_acc,
    partial_sums,
    partials,
    entries,
    count,
    most,
    place,
    head,
    heads,
    is_last,
    first_column,
    HEAD_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """Merge some columns of the heads at `place`.

    The merge adds up the partial results, each times `2 ** (its maximum - the largest maximum)`. `partials` are
    pointers to the pairs' lists, which have at most `most` entries each; `entries` are the first `AT_ONCE` of these.
    """
    column = first_column + tl.arange(0, BLOCK_C)[None, :]
    maximum = tl.full([BLOCK_M], LEAST, tl.float32)
    total = tl.full([BLOCK_M], 0.0, tl.float32)
    acc = tl.full([BLOCK_M, BLOCK_C], 0.0, tl.float32)
    for start in range(0, most, AT_ONCE):
        following = _entries(partials + start + AT_ONCE, count - start - AT_ONCE, AT_ONCE)
        for number in tl.static_range(AT_ONCE):
            is_there = is_last & (start + number < count)
            source = entries[number].to(tl.int64) * heads + head
            # Other thread blocks wrote these values, so the loads must bypass the processor's own cache.
            values = tl.load(
                partial_acc + source[:, None] * HEAD_DIM + column,
                is_there[:, None] & (column < HEAD_DIM),
                0.0,
                cache_modifier=".cg",
            )
            its_maximum = tl.load(partial_sums + source * 2, is_there, LEAST, cache_modifier=".cg")
            its_total = tl.load(partial_sums + source * 2 + 1, is_there, 0.0, cache_modifier=".cg")
            new_maximum = tl.maximum(maximum, its_maximum)
            weight = tl.exp2(its_maximum - new_maximum)
            kept = tl.exp2(maximum - new_maximum)
            total = total * kept + its_total * weight
            acc = acc * kept[:, None] + values * weight[:, None]
            maximum = new_maximum
        entries = following
    result = (acc / tl.where(is_last, total, 1.0)[:, None]).to(out.dtype.element_ty)
    tl.store(out + place[:, None] * HEAD_DIM + column, result, is_last[:, None] & (column < HEAD_DIM))
