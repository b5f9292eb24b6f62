"""From the readers of a round to its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ..kernels import Plan, SampleParams
from ..model import PAGE_SIZE, ROUND_ENDS, Round, Step
from .branch import Branch
from .planner import Reader
from .row_sampling import RowSampling

_NOTHING: Final = RowSampling()
"""Of a row whose hidden state alone is wanted."""

_NO_ENDS: Final = np.full(ROUND_ENDS, -1, np.int64)


def make_round(readers: Sequence[Reader], plan: Plan, tokens: int, vocab: int) -> Round:
    """The round in which each branch among `readers` draws up to `tokens` tokens.

    Args:
        readers: One row each, in the order of `plan`: the last token of a branch, or the last of another node, whose
            hidden state is wanted.
        plan: Has room for `tokens`.
        tokens: At most `ROUND_TOKENS`.
        vocab: Size of the vocabulary.
    """
    samplings, ends, limits, candidates = [], [], [], 1
    ids, pages, next_pages, slots = [], [], [], []
    for job, leaf, first, _, _ in readers:
        page, slot = divmod(leaf.first_slot + first, PAGE_SIZE)
        ids.append(leaf.tokens[first])
        slots.append(slot)
        pages.append(leaf.pages[page])
        next_pages.append(leaf.pages[page + 1] if page + 1 < len(leaf.pages) else -1)
        if isinstance(job, Branch) and leaf is job.node:
            samplings.append(job.row_sampling)
            ends.append(job.row_ends)
            limits.append(min(job.left, tokens))
            candidates = max(candidates, job.width)
        else:
            samplings.append(_NOTHING)
            ends.append(_NO_ENDS)
            limits.append(0)
    temperature, top_k, top_p, min_p, width, key, draw_temperature = zip(*samplings, strict=True)
    params = SampleParams(
        _tensor(temperature, np.float32),
        _tensor(top_k, np.int32),
        _tensor(top_p, np.float64),
        _tensor(min_p, np.float32),
        _tensor(width, np.int32),
        _tensor(key, np.int64),
        plan.positions.long() + 1,
    )
    places = _places(pages, next_pages, slots, tokens)
    return Round(
        tokens,
        Step(_tensor(ids, np.int64), places[:, 0].contiguous(), plan, torch.arange(len(ids))),
        places[:, 1:].contiguous(),
        params,
        _tensor(draw_temperature, np.float32) if any(draw_temperature) else None,
        torch.from_numpy(np.stack(ends)),
        _tensor(limits, np.int32),
        min(candidates, vocab),
    )


def _places(pages: Sequence[int], next_pages: Sequence[int], slots: Sequence[int], tokens: int) -> Tensor:
    """`[rows, tokens + 1]`, the cache slots of each row's token and of those that it draws; -1 where there is none."""
    at = np.array(slots)[:, None] + np.arange(tokens + 1)
    begin, further = (np.array(column)[:, None] * PAGE_SIZE for column in (pages, next_pages))
    behind = np.where(further < 0, -1, further + at - PAGE_SIZE)
    return torch.from_numpy(np.where(at < PAGE_SIZE, begin + at, behind))


def _tensor(values: Sequence[float], dtype: type[np.generic]) -> Tensor:
    return torch.from_numpy(np.array(values, dtype))
