"""From the readers of a step to its attention plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ..kernels import Plan, WorkItem
from ..model import PAGE_SIZE
from .kv_node import KVNode

_SEGMENT_TOKENS = 2048
"""Longest run of a work item: bounds the scores that an attention kernel holds at once."""


class Reader(NamedTuple):
    """A run of query rows that ends a path: the next tokens of a branch, or a prefill chunk of a node.

    Attributes:
        leaf: The node that the rows belong to.
        first: Index in `leaf.tokens` of the first row's token.
        rows: Consecutive tokens.
        writes: Whether the rows' K and V are new; False runs a cached token again for its distribution.
    """

    leaf: KVNode
    first: int
    rows: int
    writes: bool = True


def depth_first(readers: Sequence[Reader]) -> list[Reader]:
    """Sort so that the readers of every node are neighbours."""
    return sorted(readers, key=lambda reader: [node.serial for node in reader.leaf.path()])


def make_plan(readers: Sequence[Reader], device: torch.device) -> Plan:
    """The attention plan of `readers`, which are in depth-first order: one work item per node and run of pages.

    A node that several readers share is one item, loaded once for all of them.
    """
    first_row: dict[KVNode, int] = {}
    rows: dict[KVNode, int] = {}
    cached: dict[KVNode, int] = {}
    positions: list[int] = []
    for reader in readers:
        for node in reader.leaf.path():
            first_row.setdefault(node, len(positions))
            rows[node] = rows.get(node, 0) + reader.rows
            cached.setdefault(node, node.computed)
        if reader.writes:
            cached[reader.leaf] += reader.rows
        begin = reader.leaf.start + reader.first
        positions.extend(range(begin, begin + reader.rows))

    items: list[WorkItem] = []
    pages: list[int] = []
    for node, length in cached.items():
        for start in range(0, length, _SEGMENT_TOKENS):
            run = min(_SEGMENT_TOKENS, length - start)
            page, slot = divmod(node.first_slot + start, PAGE_SIZE)
            last = (node.first_slot + start + run - 1) // PAGE_SIZE
            items.append(WorkItem(len(pages), slot, node.start + start, run, first_row[node], rows[node]))
            pages.extend(node.pages[page : last + 1])
    return Plan(
        torch.tensor(positions, dtype=torch.int32, device=device),
        torch.tensor(items, dtype=torch.int32, device=device),
        torch.tensor(pages, dtype=torch.int32, device=device),
    )
