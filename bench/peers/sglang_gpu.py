"""SGLang."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sglang

from .peer import TOP_K, Peer


class Sglang(Peer):
    """Prompts that begin alike share nodes of its radix tree."""

    def __init__(self, model: Path) -> None:
        self._engine = sglang.Engine(model_path=str(model), dtype="bfloat16", mem_fraction_static=0.5)
        self._paths: list[list[int]] = []

    def prefill(self, ids: list[int]) -> None:
        self._generate([ids], 1)

    def fork(self, prefix: list[int], branches: int) -> None:
        self.fork_leaves([prefix] * branches)

    def fork_leaves(self, paths: Sequence[list[int]]) -> None:
        """Let one branch follow each of `paths`."""
        self._paths = list(paths)

    def start(self, passes: int) -> None:
        self._passes = passes

    def decode(self) -> None:
        self._generate(self._paths, self._passes)

    def _generate(self, paths: list[list[int]], tokens: int) -> None:
        sampling = {"temperature": 1.0, "top_k": TOP_K, "max_new_tokens": tokens, "ignore_eos": True}
        outputs = self._engine.generate(
            input_ids=paths, sampling_params=sampling, return_logprob=True, top_logprobs_num=5
        )
        assert all(output["meta_info"]["completion_tokens"] == tokens for output in outputs)
