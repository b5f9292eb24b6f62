"""From the readers of a round to its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...kernels import Plan, SampleParams
from ...model import PAGE_SIZE, ROUND_ENDS, Round, StepInput
from ..plan.planner import Reader
from ..sampling.row_sampling import RowSampling, sample_params
from .branch import Branch

_NOTHING: Final = RowSampling()
"""Of a row whose hidden state alone is wanted."""

_NO_ENDS: Final = np.full(ROUND_ENDS, -1, np.int64)


class _Samplings(NamedTuple):
    """What stays as it is as long as the same rows go on; see `Round`. The position in `params` is left out."""

    params: SampleParams
    draw_temperature: Tensor | None
    ends: Tensor
    candidates: int


class RoundRows:
    """Makes rounds, and keeps what rows sample by from one to the next."""

    def __init__(self, vocab: int) -> None:
        """For a vocabulary of so many tokens."""
        self._vocab = vocab
        self._leaves: list[int] = []
        self._samplings: _Samplings

    def round(self, readers: Sequence[Reader], plan: Plan, tokens: int) -> Round:
        """The round in which each branch among `readers` draws up to `tokens` tokens.

        Args:
            readers: One row each, in the order of `plan`: the last token of a branch, or the last of another node,
                whose hidden state is wanted. Of a finished request nothing is run that anybody could see.
            plan: Has room for `tokens`.
            tokens: At most `ROUND_TOKENS`.
        """
        leaves: list[int] = []
        ids: list[int] = []
        slots: list[int] = []
        pages: list[int] = []
        next_pages: list[int] = []
        limits: list[int] = []
        for request, leaf, first, _, _ in readers:
            leaves.append(leaf.serial)
            if request.finished:
                for column, nothing in ((ids, 0), (slots, 0), (pages, -1), (next_pages, -1), (limits, 0)):
                    column.append(nothing)
                continue
            page, slot = divmod(leaf.first_slot + first, PAGE_SIZE)
            own = leaf.pages
            ids.append(leaf.tokens[first])
            slots.append(slot)
            pages.append(own[page])
            next_pages.append(own[page + 1] if page + 1 < len(own) else -1)
            limits.append(min(request.left, tokens) if isinstance(request, Branch) and leaf is request.node else 0)
        if leaves != self._leaves:
            self._samplings, self._leaves = _samplings(readers, self._vocab), leaves
        params, draw_temperature, ends, candidates = self._samplings
        places = _places(pages, next_pages, slots, tokens)
        return Round(
            tokens,
            StepInput(_tensor(ids, np.int64), places[:, 0].contiguous(), plan, torch.arange(len(ids))),
            places[:, 1:].contiguous(),
            params._replace(position=plan.positions.long() + 1),
            draw_temperature,
            ends,
            _tensor(limits, np.int32),
            candidates,
        )


def _samplings(readers: Sequence[Reader], vocab: int) -> _Samplings:
    branches = [
        reader.request if isinstance(reader.request, Branch) and reader.leaf is reader.request.node else None
        for reader in readers
    ]
    rows = [_NOTHING if branch is None else branch.row_sampling for branch in branches]
    ends = np.stack([_NO_ENDS if branch is None else branch.row_ends for branch in branches])
    params, draws = sample_params(rows, torch.empty(0))
    candidates = max(1 if branch is None else branch.width for branch in branches)
    return _Samplings(params, draws, torch.from_numpy(ends), min(candidates, vocab))


def _places(pages: Sequence[int], next_pages: Sequence[int], slots: Sequence[int], tokens: int) -> Tensor:
    """`[rows, tokens + 1]`, the cache slots of each row's token and of those that it draws; -1 where there is none."""
    at = np.array(slots)[:, None] + np.arange(tokens + 1)
    page = np.where(at < PAGE_SIZE, np.array(pages)[:, None], np.array(next_pages)[:, None])
    return torch.from_numpy(np.where(page < 0, -1, page * PAGE_SIZE + at % PAGE_SIZE))


def _tensor(values: Sequence[float], dtype: type[np.generic]) -> Tensor:
    return torch.from_numpy(np.array(values, dtype))
