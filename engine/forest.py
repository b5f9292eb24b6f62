"""What a tile planner keeps of a tree of readers from one step to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from .kv_node import KVNode
from .planner import Reader
from .tile_cost import TileCost
from .tile_cutting import Counts, Runs

Append = Callable[[Counts, Sequence[KVNode], Counts, Counts], None]
"""Enters the slot of one token more of each of these twigs (`[kept]`, their rows' numbers among those of twigs): some
nodes, which of these each twig ends in, and the token's number there."""


class Asked(NamedTuple):
    """What a step reads.

    Attributes:
        readers: In the order of the scheduler.
        leaves: `leaf` of each.
        firsts: `[readers]`, `first` of each.
        rows: `rows` of each.
        writes: `writes` of each.
    """

    readers: Sequence[Reader]
    leaves: tuple[KVNode, ...]
    firsts: Counts
    rows: tuple[int, ...]
    writes: tuple[bool, ...]


class Arranged(NamedTuple):
    """The rows of a step.

    Attributes:
        runs: As `Forest.runs`.
        positions: `[rows]`, the absolute position of each row.
        twigs: `[twigs]`, the reader of each twig.
        order: Readers in the order of their rows; None if they are those of the twigs.
        full: The clock at which the first twig has no more room.
    """

    runs: Runs
    positions: Counts
    twigs: Counts
    order: list[int] | None
    full: int


class Even(NamedTuple):
    """Tiles of even cost.

    Attributes:
        most: What one costs at most.
        end: When the last worker is done.
        total: What all cost together.
        together: Rows at most whose tails share a tile; 1 if none do.
    """

    most: float
    end: float
    total: float
    together: int


class Cut(NamedTuple):
    """What was written.

    Attributes:
        tiles: How many.
        partials: How many partial results.
        last: `[runs]`, the tile that has the last token of a run, for its last rows; -1 for a tail that shares one.
        places: `[runs]`, where the slot of the last token of such a tail is among `Tiles.slots`; else -1.
        used: Slots up to the end of these.
        room: Tokens that each of these tails may grow by.
    """

    tiles: int
    partials: int
    last: Counts
    places: Counts
    used: int
    room: int


class Forest(Protocol):
    """The stems and twigs of all paths that are read (`stem`), who reads which of them together, and their regions.

    Attributes:
        clock: Steps in which every twig has grown by a token.
    """

    clock: int

    def follow(self, asked: Asked, due: Counts, append: Append) -> bool:
        """Go on from the step before to this one; returns whether anything else happened than that twigs grew.

        Args:
            asked: The step.
            due: `[twigs]`, the next token of each twig's leaf.
            append: Called once, with all twigs that grow.
        """

    def settle(self) -> int:
        """After a change: find out which costs are no longer true; returns the rows of the step."""

    def reprice(self) -> None:
        """Forget all costs."""

    def solve(self, cost: TileCost) -> float:
        """Choose who reads what together; returns the least cost (`tile_merging`)."""

    def order(self, chunk: int | None) -> None:
        """Put the rows in order: by the choices that were solved, or in deterministic mode by chunks of tokens."""

    def runs(self) -> Runs:
        """What is read together: first that of the twigs, in the order of their rows, then that of stems."""

    def lay_out(self, room: int) -> None:
        """Give regions to all that have none, another one, or less `room` than that."""

    @property
    def used(self) -> int:
        """Slots up to the end of the last region."""

    def arranged(self, asked: Asked) -> Arranged:
        """The rows of the step."""

    def may_share(self, runs: Runs, cost: TileCost) -> bool:
        """Whether any tails would rather share a tile than have their own (`tile_tails`)."""

    def even(self, runs: Runs, cost: TileCost, workers: int, most: float | None = None) -> Even:
        """The most that a tile should cost (`tile_balance`) unless that is given, and who shares one (`tile_tails`)."""

    def cut(self, arranged: Arranged, cost: TileCost, even: Even, chunk: int | None) -> Cut:
        """Write all tables, and behind the regions the slots of tails that share tiles.

        Args:
            arranged: The rows.
            cost: The prices.
            even: What a tile costs at most, and how many tails share one.
            chunk: In deterministic mode the tokens of a tile; then all results are merged, and no tails share a tile.
        """
