"""Drawn tokens and the candidates that they were drawn from, packed into one int32 table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

_ID, _LOGIT, _LSE, _CANDIDATES = range(4)

NO_DRAWN: Final = np.empty((0, _CANDIDATES), np.int32)
"""A table without tokens or candidates."""


class DrawnTokens(NamedTuple):
    """The results for drawn tokens, packed into one table so that a branch can keep its part of a round as one view.

    Attributes:
        table: `[..., 3 + 2 k]` int32. Columns per token: its id; its logit and the log-sum-exp (fp32 stored as int32
            bits); the ids of `k` candidates; their logits (fp32 bits).
    """

    table: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        ids: NDArray[Any],
        logits: NDArray[np.float32],
        lse: NDArray[np.float32],
        top_ids: NDArray[Any],
        top_logits: NDArray[np.float32],
    ) -> Self:
        """Pack arrays into a table; shapes are those of the properties below."""
        k = top_ids.shape[-1]
        table = np.empty((*ids.shape, _CANDIDATES + 2 * k), np.int32)
        table[..., _ID] = ids
        table[..., _LOGIT] = logits.view(np.int32)
        table[..., _LSE] = lse.view(np.int32)
        table[..., _CANDIDATES : _CANDIDATES + k] = top_ids
        table[..., _CANDIDATES + k :] = top_logits.view(np.int32)
        return cls(table)

    @classmethod
    def joined(cls, tables: Sequence[NDArray[np.int32]], k: int) -> Self:
        """Concatenate `[tokens, 3 + 2 k']` tables, after reducing them to at most `k` candidates per token."""
        most = _CANDIDATES + 2 * k
        return cls(
            np.concatenate([table if table.shape[1] <= most else _narrowed(table, k) for table in tables] or [NO_DRAWN])
        )

    @property
    def ids(self) -> NDArray[np.int32]:
        """`[...]`, ids of the drawn tokens."""
        return self.table[..., _ID]

    @property
    def logits(self) -> NDArray[np.float32]:
        """`[...]`, logits of the drawn tokens."""
        return self.table[..., _LOGIT].view(np.float32)

    @property
    def lse(self) -> NDArray[np.float32]:
        """`[...]`, log-sum-exp of all logits at each position."""
        return self.table[..., _LSE].view(np.float32)

    @property
    def top_ids(self) -> NDArray[np.int32]:
        """`[..., k]`, ids of the most probable tokens at each position, best first."""
        return self.table[..., _CANDIDATES : _CANDIDATES + _candidates(self.table)]

    @property
    def top_logits(self) -> NDArray[np.float32]:
        """`[..., k]`, logits of `top_ids`."""
        return self.table[..., _CANDIDATES + _candidates(self.table) :].view(np.float32)


def _candidates(table: NDArray[np.int32]) -> int:
    columns: int = table.shape[-1]
    return (columns - _CANDIDATES) // 2


def _narrowed(table: NDArray[np.int32], k: int) -> NDArray[np.int32]:
    had = _candidates(table)
    return np.concatenate((table[:, : _CANDIDATES + k], table[:, _CANDIDATES + had : _CANDIDATES + had + k]), axis=1)
