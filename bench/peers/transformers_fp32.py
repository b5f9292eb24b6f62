"""transformers: the prefix is computed once, and its cache is copied to every row of a batch (not timed)."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, DynamicCache

from .draw import draw
from .peer import Peer


class TransformersFp32(Peer):
    """transformers in fp32 with the checkpoint that marcot loads, a folder or a GGUF file.

    Attributes:
        model: The model.
    """

    def __init__(self, model: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        folder, file = (model, None) if model.is_dir() else (model.parent, model.name)
        self.model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
        self._known: list[int] = []

    @torch.inference_mode()
    def prefill(self, ids: list[int]) -> None:
        self._compute(ids)

    @torch.inference_mode()
    def fork(self, prefix: list[int], branches: int) -> None:
        if prefix != self._known:
            self._prefix, self._last = self._compute(prefix)
            self._known = prefix
        self._logits = self._last.expand(branches, -1)

    @torch.inference_mode()
    def start(self, passes: int) -> None:
        self._passes = passes
        self._cache = copy.deepcopy(self._prefix)
        self._cache.batch_repeat_interleave(len(self._logits))

    @torch.inference_mode()
    def decode(self) -> None:
        drawn = draw(self._logits)
        for _ in range(self._passes):
            drawn = draw(self.model(drawn[:, None], past_key_values=self._cache).logits[:, -1])

    def _compute(self, ids: list[int]) -> tuple[DynamicCache, torch.Tensor]:
        cache = DynamicCache(config=self.model.config)
        output = self.model(torch.tensor([ids]), past_key_values=cache, logits_to_keep=1)
        return cache, output.logits[:, -1]
