"""Drawn tokens with the candidates that they were drawn from, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

_ID, _LOGIT, _LSE, _CANDIDATES = range(4)

NO_DRAWN: Final = np.empty((0, _CANDIDATES), np.int32)
"""A table without tokens and candidates."""


class DrawnTokens(NamedTuple):
    """What a round gives of each token: one table, so that a branch keeps its part of a round as one view.

    Attributes:
        table: `[..., 3 + 2 k]` int32: the token, the bits of its logit and of the log-sum-exp, the ids of `k`
            candidates, and the bits of their logits.
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
        """Copy columns of the shapes that the properties have."""
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
        """The tokens of `[tokens, 3 + 2 k']` tables one after the other, with at most `k` candidates each."""
        return cls(np.concatenate([_narrowed(table, k) for table in tables] or [NO_DRAWN]))

    @property
    def ids(self) -> NDArray[np.int32]:
        """`[...]`, the tokens."""
        return self.table[..., _ID]

    @property
    def logits(self) -> NDArray[np.float32]:
        """`[...]`, their raw logits."""
        return self.table[..., _LOGIT].view(np.float32)

    @property
    def lse(self) -> NDArray[np.float32]:
        """`[...]`, log-sum-exp of the raw logits that they were drawn from."""
        return self.table[..., _LSE].view(np.float32)

    @property
    def top_ids(self) -> NDArray[np.int32]:
        """`[..., k]`, the most probable tokens in their place, best first."""
        return self.table[..., _CANDIDATES : _CANDIDATES + _candidates(self.table)]

    @property
    def top_logits(self) -> NDArray[np.float32]:
        """`[..., k]`, the raw logits of these."""
        return self.table[..., _CANDIDATES + _candidates(self.table) :].view(np.float32)


def _candidates(table: NDArray[np.int32]) -> int:
    columns: int = table.shape[-1]
    return (columns - _CANDIDATES) // 2


def _narrowed(table: NDArray[np.int32], k: int) -> NDArray[np.int32]:
    had = _candidates(table)
    if had <= k:
        return table
    return np.concatenate((table[:, : _CANDIDATES + k], table[:, _CANDIDATES + had : _CANDIDATES + had + k]), axis=1)
