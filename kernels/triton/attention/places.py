"""What the lanes and tokens of a tile stand for: a row and a head, and a slot of the cache."""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
import triton
import triton.language as tl


@triton.jit
def row_and_head(pair, group, kv_head):
    """Row and query head of each (row, head) pair; neither the pairs nor the group are more than 128."""
    row = pair * ((65535 + group) // group) >> 16  # pair // group, with one division for all
    return row, kv_head * group + pair - row * group


@triton.jit
def slots_of(slots, place, most, shared, first_slot, width, per_place, positions, tails):
    """Slots of a tile's places, of which `most` is the last. What nobody has written yet may be NaN.

    So places behind the tail of their row, or behind `shared` where all rows share all places, get `first_slot`. There
    is no branch in this: Triton would then read K and V when they are needed, and not ahead.
    """
    place = tl.minimum(place, most)
    row = place * per_place >> 16  # place // width, or 0 where all rows share all places
    seen = tl.load(positions + row, width > 0, shared) - tl.load(tails + row, width > 0, 0)
    return tl.where(place - row * width <= seen, tl.load(slots + place), first_slot)
