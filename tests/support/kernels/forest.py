"""Trees of KV segments in the pages of a cache, and plans that read them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from marcot.kernels import Kernels, Plan, WorkItem
from support.kernels.kernel_sets import tokens_of_keys
from torch import Tensor

PAGE_SIZE = 16


class Segment(NamedTuple):
    """A run of tokens in its own slots.

    Attributes:
        pages: Its pages.
        first_slot: Slot of its first token in the first page.
        length: Number of tokens.
        start: Position of its first token.
        path: Numbers of the segments from the root down to this one.
    """

    pages: list[int]
    first_slot: int
    length: int
    start: int
    path: list[int]

    def places(self) -> tuple[Tensor, Tensor]:
        """Page and slot of each token."""
        slots = torch.arange(self.first_slot, self.first_slot + self.length)
        return torch.tensor(self.pages)[slots // PAGE_SIZE], slots % PAGE_SIZE


class Query(NamedTuple):
    """Rows that read a path: the last rows of the first `end` tokens of a segment."""

    segment: int
    end: int
    rows: int


class Forest:
    """Segments, each on its own pages of a cache that is NaN elsewhere."""

    def __init__(self, ops: Kernels, kv_heads: int, head_dim: int, seed: int, pages: int = 64) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.k_pages, self.v = torch.full((2, pages, kv_heads, PAGE_SIZE, head_dim), torch.nan)
        self.k = tokens_of_keys(ops, self.k_pages)
        self.free = torch.randperm(pages, generator=self.random).tolist()
        self.segments: list[Segment] = []

    def add(self, length: int, first_slot: int, parent: int | None = None) -> int:
        """Store a segment of random K and V below `parent`; return its number."""
        kv = torch.randn(2, length, self.v.shape[1], self.v.shape[3], generator=self.random)
        return self._store(kv, first_slot, parent)

    def add_copy(self, query: Query, first_slot: int) -> Query:
        """Store all that `query` reads as one segment; return a query that reads the copy."""
        kv = torch.stack((self.tokens(self.k, query), self.tokens(self.v, query)))
        return Query(self._store(kv, first_slot, None), kv.shape[1], query.rows)

    def _store(self, kv: Tensor, first_slot: int, parent: int | None) -> int:
        above = None if parent is None else self.segments[parent]
        length, number = kv.shape[1], len(self.segments)
        pages = [self.free.pop() for _ in range(-(-(first_slot + length) // PAGE_SIZE))]
        start, path = (0, []) if above is None else (above.start + above.length, above.path)
        segment = Segment(pages, first_slot, length, start, [*path, number])
        page, slot = segment.places()
        self.k[page, :, slot], self.v[page, :, slot] = kv
        self.segments.append(segment)
        return number

    def tokens(self, cache: Tensor, query: Query) -> Tensor:
        """The K or V that the last row of `query` reads, `[tokens, kv_heads, head_dim]`."""
        places = [self.segments[number].places() for number in self.segments[query.segment].path]
        page, slot = map(torch.cat, zip(*places, strict=True))
        return cache[page, :, slot][: self.segments[query.segment].start + query.end]

    def depth_first(self, queries: Sequence[Query]) -> list[Query]:
        """Sort queries so that the readers of every segment are neighbours."""
        return sorted(queries, key=lambda query: self.segments[query.segment].path)

    def plan(self, queries: Sequence[Query], random: Random | None = None) -> Plan:
        """The plan of queries in depth-first order.

        Args:
            queries: What rows read, in depth-first order.
            random: Cuts the work items anywhere, between tokens and between rows, and shuffles them; without it
                there is one item for each segment.
        """
        readers: dict[int, list[int]] = {}
        positions: list[int] = []
        for query in queries:
            for number in self.segments[query.segment].path:
                readers.setdefault(number, [len(positions), 0])[1] += query.rows
            end = self.segments[query.segment].start + query.end
            positions += range(end - query.rows, end)
        items, pages = [], []
        for number, (first_row, rows) in readers.items():
            segment = self.segments[number]
            for begin, end in pairwise(_cuts(segment.length, random)):
                page, slot = divmod(segment.first_slot + begin, PAGE_SIZE)
                used = segment.pages[page : (segment.first_slot + end - 1) // PAGE_SIZE + 1]
                for first, last in pairwise(_cuts(rows, random)):
                    place = (len(pages), slot, segment.start + begin, end - begin)
                    items.append(WorkItem(*place, first_row + first, last - first))
                pages += used
        if random:
            random.shuffle(items)
        return Plan(*(torch.tensor(field, dtype=torch.int32) for field in (positions, items, pages)))

    def queries(self, rows: int, group: int) -> Tensor:
        """Random query rows, `[rows, heads, head_dim]`."""
        return torch.randn(rows, group * self.v.shape[1], self.v.shape[3], generator=self.random)


def _cuts(length: int, random: Random | None) -> list[int]:
    """0, `length`, and random numbers in between."""
    inside = random.sample(range(1, length), random.randint(0, min(4, length - 1))) if random else []
    return [0, *sorted(inside), length]


class Shape(NamedTuple):
    """The shape of a forest, and its queries."""

    segments: list[tuple[int, int, int | None]]
    queries: list[Query]

    def grow(self, forest: Forest) -> list[Query]:
        """Store the segments in `forest`; return the queries in depth-first order."""
        for segment in self.segments:
            forest.add(*segment)
        return forest.depth_first(self.queries)


@st.composite
def shapes(draw: st.DrawFn, most_segments: int = 7, most_tokens: int = 40) -> Shape:
    """One or more trees whose segments begin in any slot; some segments are read, to their end or less."""
    segments, queries = [], []
    for number in range(draw(st.integers(1, most_segments), "segments")):
        parent = draw(st.none() | st.integers(0, number - 1), "parent") if number else None
        segments.append((draw(st.integers(1, most_tokens)), draw(st.integers(0, PAGE_SIZE - 1)), parent))
    for number in draw(st.lists(st.integers(0, len(segments) - 1), min_size=1, max_size=6), "read"):
        end = draw(st.just(segments[number][0]) | st.integers(1, segments[number][0]), "end")
        queries.append(Query(number, end, draw(st.integers(1, min(end, 9)), "rows")))
    return Shape(segments, queries)
