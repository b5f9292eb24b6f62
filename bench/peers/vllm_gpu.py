"""vLLM as a peer."""

from __future__ import annotations

from pathlib import Path

from vllm import LLM, SamplingParams

from .peer import TOP_K
from .prefix_caching import PrefixCachingPeer


class Vllm(PrefixCachingPeer):
    """vLLM. Prompts with a common prefix share its full blocks of 16 tokens."""

    def __init__(self, model: Path) -> None:
        self._engine = LLM(
            model=str(model),
            dtype="bfloat16",
            enable_prefix_caching=True,
            gpu_memory_utilization=0.5,
            max_model_len=4096,
        )

    def generate(self, paths: list[list[int]], tokens: int) -> None:
        sampling = SamplingParams(
            temperature=1.0, top_k=TOP_K, max_tokens=tokens, ignore_eos=True, logprobs=5, detokenize=False
        )
        outputs = self._engine.generate([{"prompt_token_ids": path} for path in paths], sampling, use_tqdm=False)
        assert all(len(output.outputs[0].token_ids) == tokens for output in outputs)
