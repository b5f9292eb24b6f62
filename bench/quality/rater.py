"""Computes the log-probabilities of a decoder after each token of a text: over the whole vocabulary, in fp64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from marcot.kernels import Plan, WorkItem
from marcot.model import PAGE_SIZE, Decoder, KVCache, StepInput
from torch import Tensor


class Rater:
    """Runs a decoder on sequences of at most `tokens` tokens, each independent of the others."""

    def __init__(self, decoder: Decoder, tokens: int) -> None:
        self._decoder = decoder
        self._cache = KVCache(decoder.config, -(-tokens // PAGE_SIZE), decoder.dtype, decoder.device)

    def read(self, ids: Sequence[int]) -> Tensor:
        """Return the hidden states after each of `ids`, `[tokens, hidden]`, from one forward pass."""
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
        """Return log-probabilities, `[rows, vocab]` fp64, of hidden states, `[rows, hidden]`."""
        return self._decoder.kernels.linear(states, self._decoder.head).double().log_softmax(dim=1)
