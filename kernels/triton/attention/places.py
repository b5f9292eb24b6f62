"""Maps the lanes of a tile to rows and heads, and its places to slots of the cache."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
import triton
import triton.language as tl


@triton.jit
def row_and_head(pair, group, kv_head):
    """The row and query head of each (row, head) pair, for up to 128 pairs and groups of up to 128 heads."""
    row = pair * ((65535 + group) // group) >> 16  # pair // group, with one division for all
    return row, kv_head * group + pair - row * group


@triton.jit
def slots_of(slots, place, most, shared, first_slot, width, per_place, positions, tails):
    """The slots of a tile's places, of which `most` is the last.

    A slot that nobody has written to may hold NaN. So places after the tail of their row, or after `shared` if all rows
    share all places, get `first_slot`. This code has no branches, because with them Triton would load K and V when they
    are needed instead of ahead.
    """
    place = tl.minimum(place, most)
    row = place * per_place >> 16  # place // width, or 0 where all rows share all places
    seen = tl.load(positions + row, width > 0, shared) - tl.load(tails + row, width > 0, 0)
    return tl.where(place - row * width <= seen, tl.load(slots + place), first_slot)
