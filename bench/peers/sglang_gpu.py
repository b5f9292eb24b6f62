"""SGLang as a peer."""

from __future__ import annotations

from pathlib import Path

import sglang

from .peer import TOP_K
from .prefix_caching import PrefixCachingPeer


class Sglang(PrefixCachingPeer):
    """SGLang. Prompts with a common prefix share nodes of its radix tree."""

    def __init__(self, model: Path) -> None:
        self._engine = sglang.Engine(model_path=str(model), dtype="bfloat16", mem_fraction_static=0.5)

    def generate(self, paths: list[list[int]], tokens: int) -> None:
        sampling = {"temperature": 1.0, "top_k": TOP_K, "max_new_tokens": tokens, "ignore_eos": True}
        outputs = self._engine.generate(
            input_ids=paths, sampling_params=sampling, return_logprob=True, top_logprobs_num=5
        )
        assert all(output["meta_info"]["completion_tokens"] == tokens for output in outputs)
