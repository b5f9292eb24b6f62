"""OpenVINO GenAI with continuous batching and int8 weights, converted from the GGUF file that marcot loads."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import openvino
import openvino_genai

from .peer import TOP_K, Peer

_STEP_TOKENS = 2048
"""Maximum tokens per step: enough to compute the longest prompt of the benchmark in one step."""

_CACHE_GB = 2


class OpenVinoInt8(Peer):
    """OpenVINO GenAI. A round is one request with a sequence per branch; they share the cached blocks of the prompt.

    It can only return the log-probability of the drawn token, not of others.
    """

    def __init__(self, model: Path, threads: int) -> None:
        self._model, self._threads = model, threads
        self._open_pipeline()

    def _open_pipeline(self) -> None:
        """Make a pipeline with an empty cache."""
        scheduling = openvino_genai.SchedulerConfig()
        scheduling.max_num_batched_tokens = _STEP_TOKENS
        scheduling.cache_size = _CACHE_GB
        scheduling.enable_prefix_caching = True
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            self._model, scheduling, "CPU", {"INFERENCE_NUM_THREADS": self._threads}
        )
        self._requests = count()

    def prefill(self, ids: list[int]) -> None:
        self._request(ids, 1, 1)
        self._pipeline.step()
        assert not self._pipeline.has_non_finished_requests()

    def fork(self, prefix: list[int], branches: int) -> None:
        self._prefix, self._branches = prefix, branches
        self.prefill(prefix)

    def start(self, passes: int) -> None:
        self._request(self._prefix, self._branches, passes + 1)
        self._pipeline.step()
        self._passes = passes

    def decode(self) -> None:
        for _ in range(self._passes):
            self._pipeline.step()
        assert not self._pipeline.has_non_finished_requests()

    def _request(self, ids: list[int], branches: int, tokens: int) -> None:
        """Add a request, and keep its handle, because the request ends with it."""
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos = tokens, True
        config.do_sample, config.temperature, config.top_k, config.top_p = True, 1.0, TOP_K, 1.0
        config.num_return_sequences, config.logprobs = branches, 1
        request = next(self._requests)
        tensor = openvino.Tensor(np.array([ids], dtype=np.int64))
        self._handle = self._pipeline.add_request(request, tensor, config)
