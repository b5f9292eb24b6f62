"""The contestants of `test_tree_decode.py`: three ways to decode the same branches."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from itertools import count
from typing import Any

import torch
from marcot.engine import Engine, Expansion, Sampling
from transformers import DynamicCache, PreTrainedModel

from ..common.workload import NEW_TOKENS, TOP_K, Workload

_SAMPLING = Sampling(temperature=1.0, top_k=TOP_K, top_p=1.0, max_tokens=NEW_TOKENS, ignore_eos=True)


class Contestant(ABC):
    """An engine with a computed prefix. The constructor computes the prefix; each `decode` is one round."""

    def setup(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Prepare a round, not timed; return the positional and keyword arguments of `decode`."""
        return (), {}

    @abstractmethod
    def decode(self, *state: Any) -> None:  # noqa: ANN401  (what `setup` returned)
        """Decode `NEW_TOKENS` tokens on every branch, with their confidences."""


class Tree(Contestant):
    """marcot with sharing: K and V of the prefix are stored once and read once per step."""

    def __init__(self, engine: Engine, workload: Workload) -> None:
        self._engine = engine
        self._branches = workload.branches
        self._node = engine.prefill(workload.prefix())
        self._rounds = count()

    def decode(self) -> None:
        """Expand the node of the prefix."""
        first = next(self._rounds) * self._branches
        for child in self._engine.expand(self._node, self._branches, _SAMPLING, first=first):
            assert child.confidence > 0


class Copies(Contestant):
    """marcot without sharing: prefixes differ in their first token, so each branch has a separate copy."""

    def __init__(self, engine: Engine, workload: Workload) -> None:
        self._engine = engine
        self._nodes = [engine.prefill(workload.prefix(branch)) for branch in range(workload.branches)]
        self._rounds = count()

    def decode(self) -> None:
        """Expand the node of each branch."""
        first = next(self._rounds)
        for (child,) in self._engine.expand([Expansion(node, 1, _SAMPLING, first) for node in self._nodes]):
            assert child.confidence > 0


class Transformers(Contestant):
    """transformers: the prefix is computed once, and its cache is copied to every row of a batch (not timed)."""

    def __init__(self, model: PreTrainedModel, workload: Workload) -> None:
        self._model = model
        self._branches = workload.branches
        self._prefix = DynamicCache(config=model.config)
        with torch.inference_mode():
            output = model(torch.tensor([workload.prefix()]), past_key_values=self._prefix, logits_to_keep=1)
        self._logits = output.logits[:, -1]

    def setup(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Copy the cache, because a round modifies it."""
        cache = copy.deepcopy(self._prefix)
        cache.batch_repeat_interleave(self._branches)
        return (cache,), {}

    @torch.inference_mode()
    def decode(self, cache: DynamicCache) -> None:
        """Decode all branches as one batch."""
        logits = self._logits.expand(self._branches, -1)
        for remaining in range(NEW_TOKENS - 1, -1, -1):
            logprobs, ids = logits.log_softmax(dim=-1).topk(TOP_K, dim=-1)
            drawn = torch.multinomial(logprobs.exp(), 1)
            confidence = logprobs.gather(1, drawn).exp() / logprobs[:, :5].exp().sum(dim=1, keepdim=True)
            assert confidence.min() > 0
            if remaining:
                logits = self._model(ids.gather(1, drawn), past_key_values=cache).logits[:, -1]
