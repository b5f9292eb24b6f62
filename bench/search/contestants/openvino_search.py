"""OpenVINO GenAI: continuous batching with prefix caching, a request per branch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino
from openvino_genai import GenerationConfig, GenerationStatus
from openvino_genai.py_openvino_genai import GenerationHandle

from ...peers.openvino_int8 import OpenVinoInt8
from ...peers.peer import TOP_K
from ..schedule import Replay, Schedule, Start
from .searcher import Delivered, Searcher, Tally


class OpenVinoSearch(OpenVinoInt8, Searcher):
    """OpenVINO GenAI. The branches of all questions are requests of one pipeline; one that ends is replaced at once.

    Every prompt is computed before the first branches ask for it, so that they find it in the cache. The pipeline gives
    only the log-probability of the drawn token, so there are no tables.
    """

    def __init__(self, model: Path, threads: int) -> None:
        super().__init__(model, threads)
        self._schedules: Sequence[Schedule] = ()

    def prepare(self, schedules: Sequence[Schedule]) -> None:
        del self._pipeline
        self._open_pipeline()
        self._schedules = schedules

    def search(self) -> Delivered:
        tally, replay = Tally(), Replay(self._schedules)
        prompts = [self._ask(schedule.prompt, 1) for schedule in self._schedules]
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        del prompts
        running = [(start, self._begin(start)) for start in replay.begin()]
        while running:
            self._pipeline.step()
            going = []
            for start, handle in running:
                if handle.get_status() == GenerationStatus.RUNNING:
                    going.append((start, handle))
                    continue
                [output] = handle.read_all()
                assert len(output.generated_log_probs) == start.branch.tokens
                tally.add_bare(start.branch.tokens)
                going += [(each, self._begin(each)) for each in replay.finish(start, output.generated_ids)]
            running = going
        return tally.delivered()

    def _begin(self, start: Start) -> GenerationHandle:
        return self._ask(start.prefix, start.branch.tokens)

    def _ask(self, ids: list[int], tokens: int) -> GenerationHandle:
        """Add a request for one sequence of `tokens` tokens, and return its handle, with which it would end."""
        config = GenerationConfig()
        config.max_new_tokens, config.ignore_eos = tokens, True
        config.do_sample, config.temperature, config.top_k, config.top_p = True, 1.0, TOP_K, 1.0
        config.logprobs = 1
        return self._pipeline.add_request(
            next(self._requests), openvino.Tensor(np.array([ids], dtype=np.int64)), config
        )
