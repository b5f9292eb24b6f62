"""The tree of tokens that a step or a round reads, cut into segments where it branches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .tile_tables import Ints


class Segments(NamedTuple):
    """Runs of tokens that are read by the same rows from end to end; a run may span several nodes. Upper ones first.

    A shared segment has several rows, a private suffix has one.

    Attributes:
        above: `[segments]`, index of the segment that this one continues; -1 where a path begins.
        first: `[segments]`, index in `ReadTree.slots` of its first token; the others follow.
        length: `[segments]`, number of tokens, including those that the round will add.
        position: `[segments]`, absolute position of its first token.
        first_row: `[segments]`, the first row that reads the segment.
        rows: `[segments]`, number of consecutive rows that read the segment.
        ends: `[segments]`, number of rows whose path ends in the segment.
        end_row: `[segments]`, the first of these rows, if any; the others follow it.
    """

    above: Ints
    first: Ints
    length: Ints
    position: Ints
    first_row: Ints
    rows: Ints
    ends: Ints
    end_row: Ints


class ReadTree(NamedTuple):
    """What a step or a round reads.

    Attributes:
        positions: `[query rows]` int32, absolute position of each row.
        last: `[query rows]`, each row's position at the end of the round.
        slots: `[tokens]` int32, `page * PAGE_SIZE + slot` in the cache.
        segments: The segments, as ranges of `slots`.
    """

    positions: NDArray[np.int32]
    last: Ints
    slots: NDArray[np.int32]
    segments: Segments
