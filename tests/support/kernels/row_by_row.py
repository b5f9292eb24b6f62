"""The specification, applied to each row separately, so that it is batch-invariant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from marcot.kernels import Draw, HeadTopK, Plan, reference
from marcot.kernels.reference.linear import DenseLinear
from support.kernels.tiled_reference import TiledReference
from torch import Tensor


class RowByRow:
    """`reference`, one row at a time: products of many rows would be summed in another order than those of one."""

    name = "reference, row by row"
    deterministic = True

    def __getattr__(self, name: str) -> Any:
        return getattr(reference, name)

    def linear(self, x: Tensor, weight: DenseLinear) -> Tensor:
        return torch.cat([reference.linear(row, weight) for row in x.split(1)])

    def tree_attention(self, q: Tensor, k_pages: Tensor, v_pages: Tensor, plan: Plan, *scales: Any) -> Tensor:
        return _attention(q, k_pages, v_pages, plan, *scales)

    def lm_head_topk(
        self, hidden: Tensor, weight: DenseLinear, k: int, targets: Tensor | None = None, draw: Draw | None = None
    ) -> HeadTopK:
        heads = []
        for row in range(len(hidden)):
            one = slice(row, row + 1)
            target = None if targets is None else targets[one]
            drawn = None if draw is None else Draw(*(field[one] for field in draw))
            heads.append(reference.lm_head_topk(hidden[one], weight, k, target, drawn))
        return HeadTopK(*map(_joined, zip(*heads, strict=True)))


class TiledRowByRow(TiledReference):
    """The same for plans in tiles; how tiles are cut depends only on each row's path."""

    name = "tiled reference, row by row"
    deterministic = True
    linear = RowByRow.linear
    lm_head_topk = RowByRow.lm_head_topk  # type: ignore[assignment]

    @staticmethod
    def _attention(q: Tensor, k_pages: Tensor, v_pages: Tensor, plan: Plan, *scales: Any) -> Tensor:
        return _attention(q, k_pages, v_pages, plan, *scales)


def _attention(q: Tensor, k_pages: Tensor, v_pages: Tensor, plan: Plan, *scales: Any) -> Tensor:
    rows = range(len(q))
    return torch.cat(
        [reference.tree_attention(q[row : row + 1], k_pages, v_pages, _of(plan, row), *scales) for row in rows]
    )


def _of(plan: Plan, row: int) -> Plan:
    """The part of `plan` for one row, in the order of positions."""
    first, rows = plan.items[:, 4], plan.items[:, 5]
    items = plan.items[(first <= row) & (row < first + rows)]
    items = items[items[:, 2].argsort(stable=True)].clone()
    items[:, 4], items[:, 5] = 0, 1
    return Plan(plan.positions[row : row + 1], items, plan.pages)


def _joined(parts: Iterable[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None
