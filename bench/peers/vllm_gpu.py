"""vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vllm import LLM, SamplingParams

from .peer import TOP_K, Peer


class Vllm(Peer):
    """Prompts that begin alike share blocks of its cache."""

    def __init__(self, model: Path) -> None:
        self._engine = LLM(
            model=str(model),
            dtype="bfloat16",
            enable_prefix_caching=True,
            gpu_memory_utilization=0.5,
            max_model_len=4096,
        )
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
        sampling = SamplingParams(temperature=1.0, top_k=TOP_K, max_tokens=tokens, ignore_eos=True, logprobs=5)
        outputs = self._engine.generate([{"prompt_token_ids": path} for path in paths], sampling, use_tqdm=False)
        assert all(len(output.outputs[0].token_ids) == tokens for output in outputs)
