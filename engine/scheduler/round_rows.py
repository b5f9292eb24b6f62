"""Builds the tensors of a round from its readers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...kernels import Plan, SampleParams
from ...kernels.plan.tile_tables import Ints
from ...model import PAGE_SIZE, ROUND_ENDS, Round, StepInput
from ..plan.planner import Reader
from ..sampling.row_sampling import RowSampling, sample_params

_NOTHING: Final = RowSampling()
"""The sampling of a row that only has to produce a hidden state."""

_NO_ENDS: Final = np.full(ROUND_ENDS, -1, np.int64)


class _Samplings(NamedTuple):
    """Tensors of a `Round` that do not change while the same rows continue. The position in `params` is not set."""

    params: SampleParams
    draw_temperature: Tensor | None
    ends: Tensor
    candidates: int


class RoundRows:
    """Builds rounds, and reuses the rows' sampling parameters from one round to the next."""

    def __init__(self, vocab: int) -> None:
        """Make a builder for a vocabulary of `vocab` tokens."""
        self._vocab = vocab
        self._leaves: list[int] = []
        self._samplings: _Samplings

    def round(self, readers: Sequence[Reader], plan: Plan, tokens: int) -> Round:
        """The round in which each branch among `readers` draws up to `tokens` tokens.

        Args:
            readers: One row each, in the order of `plan`: the last token of a branch, or the last token of another
                node, to compute its hidden state. Rows of finished requests run too, but have no visible effect.
            plan: A plan with room for `tokens`. Its positions may be others.
            tokens: At most `ROUND_TOKENS`; the round has fewer if no branch may draw as many.
        """
        leaves = [reader.leaf.serial for reader in readers]
        if leaves != self._leaves:
            self._samplings, self._leaves = _samplings(readers, self._vocab), leaves
        rows = chain.from_iterable(map(_place, readers))
        positions, ids, slots, pages, next_pages, left = np.fromiter(rows, np.int64).reshape(len(readers), -1).T
        tokens = min(tokens, max(int(left.max()), 1))
        params, draw_temperature, ends, candidates = self._samplings
        places = _places(pages, next_pages, slots, tokens)
        position, token_ids = torch.from_numpy(positions.copy()), torch.from_numpy(ids.copy())
        slots_now = torch.from_numpy(places[:, 0].copy())
        return Round(
            tokens,
            StepInput(token_ids, slots_now, plan._replace(positions=position.int()), torch.arange(len(ids))),
            torch.from_numpy(places[:, 1:].copy()),
            params._replace(position=position + 1),
            draw_temperature,
            ends,
            torch.from_numpy(np.minimum(left, tokens).astype(np.int32)),
            candidates,
        )


def _place(reader: Reader) -> tuple[int, ...]:
    """A row's position and token, the token's slot in its page, that page, the next page, and how many may be drawn.

    A row whose request has finished gets the position of the node's first token, which always exists.
    """
    request, leaf, first, _, _ = reader
    if request.finished:
        return leaf.start, 0, 0, -1, -1, 0
    page, slot = divmod(leaf.first_slot + first, PAGE_SIZE)
    pages, branch = leaf.pages, request.branch_at(leaf)
    next_page = pages[page + 1] if page + 1 < len(pages) else -1
    return leaf.start + first, leaf.tokens[first], slot, pages[page], next_page, 0 if branch is None else branch.left


def _samplings(readers: Sequence[Reader], vocab: int) -> _Samplings:
    branches = [reader.request.branch_at(reader.leaf) for reader in readers]
    rows = [_NOTHING if branch is None else branch.row_sampling for branch in branches]
    ends = np.stack([_NO_ENDS if branch is None else branch.row_ends for branch in branches])
    params, draws = sample_params(rows, torch.empty(0))
    candidates = max(1 if branch is None else branch.width for branch in branches)
    return _Samplings(params, draws, torch.from_numpy(ends), min(candidates, vocab))


def _places(pages: Ints, next_pages: Ints, slots: Ints, tokens: int) -> Ints:
    """`[rows, tokens + 1]`, cache slots of each row's token and of the tokens that it draws; -1 where there is none."""
    at = slots[:, None] + np.arange(tokens + 1)
    page = np.where(at < PAGE_SIZE, pages[:, None], next_pages[:, None])
    places: Ints = np.where(page < 0, -1, page * PAGE_SIZE + at % PAGE_SIZE)
    return places
