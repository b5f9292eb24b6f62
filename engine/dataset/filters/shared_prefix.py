"""The common prefix of two texts."""

from __future__ import annotations

from collections.abc import Sequence


def shared_length(one: str | Sequence[int], other: str | Sequence[int]) -> int:
    """The length of the common prefix of two texts, in characters or tokens."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
