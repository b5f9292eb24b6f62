"""What a decoder expects after each of given tokens: whole rows of log-probabilities, in fp64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from marcot.kernels import Plan, WorkItem
from marcot.model import PAGE_SIZE, Decoder, KVCache, StepInput
from torch import Tensor


class Rater:
    """Reads runs of at most `tokens` tokens, each by itself."""

    def __init__(self, decoder: Decoder, tokens: int) -> None:
        self._decoder = decoder
        self._cache = KVCache(decoder.config, -(-tokens // PAGE_SIZE), decoder.dtype, decoder.device)

    def read(self, ids: Sequence[int]) -> Tensor:
        """`[tokens, hidden]`: the states after each of `ids`, from one forward pass."""
        count = len(ids)
        slots = torch.arange(count)
        plan = Plan(
            slots.to(torch.int32),
            torch.tensor([WorkItem(0, 0, 0, count, 0, count)], dtype=torch.int32),
            torch.arange(-(-count // PAGE_SIZE), dtype=torch.int32),
        )
        return self._decoder.forward(StepInput(torch.tensor(ids), slots, plan, slots), self._cache)

    @torch.inference_mode()
    def log_probabilities(self, states: Tensor) -> Tensor:
        """`[rows, vocab]` fp64, given `[rows, hidden]`."""
        return self._decoder.kernels.linear(states, self._decoder.head).double().log_softmax(dim=1)
